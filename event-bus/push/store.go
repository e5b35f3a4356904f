package push

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"miniblog/internal/event"
)

// position is what is kept of a subscriber, in NAME.json. It is replaced by a
// new file that is synced before it gets the name.
type position struct {
	Log         string         `json:"log"`    // the id of the log that Cursor is a position in
	Cursor      event.Sequence `json:"cursor"` // everything up to here was delivered or is a dead letter
	Stopped     bool           `json:"stopped,omitzero"`
	DeadLetters int            `json:"deadLetters,omitzero"`
}

// DeadLetter is an event that was given up, a line of NAME.dead.ndjson.
type DeadLetter struct {
	Sequence event.Sequence `json:"sequence"`
	ID       string         `json:"id"`
	Time     time.Time      `json:"time"`
	Attempts int            `json:"attempts"`
	Status   int            `json:"status,omitzero"` // of the last answer
	Answer   string         `json:"answer"`          // its beginning, or why there was none
	Event    jsontext.Value `json:"event,omitzero"`
}

// store keeps one subscriber's position and dead letters in a folder. It
// belongs to the subscriber's dispatcher.
type store struct {
	folder folder
	name   string
	newest []DeadLetter // without their events
}

// folder is what a store asks of the folder it lives in. The tests have a
// second one, which forgets what was not synced.
type folder interface {
	// Open opens a file to be read.
	Open(name string) (io.ReadCloser, error)
	// Create opens a file to be written to: a new one, or an old one that is
	// emptied (os.O_TRUNC) or goes on at its end (os.O_APPEND).
	Create(name string, flag int) (file, error)
	Rename(from, to string) error
	// Sync makes the names of files durable.
	Sync() error
	// Path says to a person where the file of that name is.
	Path(name string) string
}

type file interface {
	io.WriteCloser
	Sync() error
}

func newStore(dir, name string) *store { return &store{folder: directory(dir), name: name} }

// listed is how many dead letters are listed, and answerBytes how much of an
// answer is kept.
const (
	listed      = 100
	answerBytes = 512
)

func (s *store) path(suffix string) string { return s.folder.Path(s.name + suffix) }

// The names of a subscriber's files.
const (
	positionSuffix = ".json"
	lettersSuffix  = ".dead.ndjson"
	tempSuffix     = ".tmp"
)

// load returns the position; found is false if there is none yet.
func (s *store) load() (p position, found bool, err error) {
	f, err := s.folder.Open(s.name + positionSuffix)
	if errors.Is(err, fs.ErrNotExist) {
		return p, false, nil
	}
	if err == nil {
		defer f.Close()
		err = json.UnmarshalRead(f, &p)
	}
	if err != nil {
		return p, false, fmt.Errorf("the cursor of subscriber %s cannot be read (remove %s to deliver all events again): %w", s.name, s.path(positionSuffix), err)
	}
	return p, true, s.loadLetters()
}

// loadLetters reads the newest dead letters back, one at a time: there may be
// very many.
func (s *store) loadLetters() error {
	f, err := s.folder.Open(s.name + lettersSuffix)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	for lines := bufio.NewReaderSize(f, 64<<10); ; {
		line, err := lines.ReadBytes('\n')
		if err == io.EOF {
			return nil // a line without an end was torn: its event is delivered again
		}
		if err != nil {
			return fmt.Errorf("the dead letters of subscriber %s cannot be read: %w", s.name, err)
		}
		var letter DeadLetter
		if json.Unmarshal(line, &letter) == nil {
			s.remember(letter)
		}
	}
}

// save makes p durable.
func (s *store) save(p position) error {
	text, err := json.Marshal(p)
	if err != nil {
		return err
	}
	name := s.name + positionSuffix
	if err := s.write(name+tempSuffix, os.O_TRUNC, append(text, '\n')); err != nil {
		return err
	}
	if err := s.folder.Rename(name+tempSuffix, name); err != nil {
		return err
	}
	return s.folder.Sync()
}

// bury makes a dead letter durable.
func (s *store) bury(letter DeadLetter) error {
	line, err := json.Marshal(letter)
	if err != nil {
		return err
	}
	// A line that a crash tore must not swallow this one.
	if err := s.write(s.name+lettersSuffix, os.O_APPEND, append(append([]byte{'\n'}, line...), '\n')); err != nil {
		return err
	}
	s.remember(letter)
	return s.folder.Sync()
}

func (s *store) remember(letter DeadLetter) {
	letter.Event = nil
	s.newest = append(s.newest, letter)
	if len(s.newest) > listed {
		s.newest = s.newest[len(s.newest)-listed:]
	}
}

// write writes text to a file and syncs it.
func (s *store) write(name string, flag int, text []byte) error {
	f, err := s.folder.Create(name, flag)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	return err
}

// directory is a folder of the file system.
type directory string

func (d directory) Path(name string) string { return filepath.Join(string(d), name) }

func (d directory) Open(name string) (io.ReadCloser, error) { return os.Open(d.Path(name)) }

func (d directory) Create(name string, flag int) (file, error) {
	return os.OpenFile(d.Path(name), os.O_WRONLY|os.O_CREATE|flag, 0o644)
}

func (d directory) Rename(from, to string) error { return os.Rename(d.Path(from), d.Path(to)) }

func (d directory) Sync() error {
	dir, err := os.Open(string(d))
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}
