package push

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"miniblog/internal/disk"
	"miniblog/internal/event"
)

// position is what is kept of a subscriber, in NAME.json.
type position struct {
	Log         string         `json:"log"`    // the id of the log that Cursor is a position in
	Cursor      event.Sequence `json:"cursor"` // everything up to here was delivered or is a dead letter
	Stopped     bool           `json:"stopped,omitzero"`
	DeadLetters int            `json:"deadLetters,omitzero"`

	// LastDelivered is an event that the subscriber took, 0 if none is known.
	LastDelivered event.Sequence `json:"lastDelivered,omitzero"`
}

// DeadLetter is an event that was given up, a line of NAME.dead.ndjson.
//
// Its event is the bytes that the log has, put behind the other members as they
// are: it may nest as deep as JSON allows, and then the line nests deeper. So
// the line as a whole is never decoded.
type DeadLetter struct {
	Sequence event.Sequence `json:"sequence"`
	ID       string         `json:"id"`
	Time     time.Time      `json:"time"`
	Attempts int            `json:"attempts"`
	Status   int            `json:"status,omitzero"` // of the last answer
	Answer   string         `json:"answer"`          // its beginning, or why there was none
	Event    jsontext.Value `json:"event,omitzero"`
}

// store keeps one subscriber's position and dead letters in a folder: what save
// and bury have returned nil for survives any crash. It belongs to the
// subscriber's dispatcher.
type store struct {
	folder disk.Folder
	dir    string // its path, for people
	name   string
	newest []DeadLetter // without their events
}

func newStore(dir, name string) *store { return &store{folder: disk.Dir(dir), dir: dir, name: name} }

// listed is how many dead letters are listed, and answerBytes how much of an
// answer is kept.
const (
	listed      = 100
	answerBytes = 512
)

// path says to a person where a file is.
func (s *store) path(suffix string) string { return filepath.Join(s.dir, s.name+suffix) }

// The names of a subscriber's files.
const (
	positionSuffix = ".json"
	lettersSuffix  = ".dead.ndjson"
)

// load returns the position; found is false if there is none yet.
func (s *store) load() (p position, found bool, err error) {
	f, err := s.folder.Open(s.name + positionSuffix)
	if errors.Is(err, fs.ErrNotExist) {
		return p, false, nil
	}
	if err == nil {
		defer f.Close()
		err = json.UnmarshalRead(io.NewSectionReader(f, 0, math.MaxInt64), &p)
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
	for lines := bufio.NewReaderSize(io.NewSectionReader(f, 0, math.MaxInt64), 64<<10); ; {
		line, err := lines.ReadBytes('\n')
		if err == io.EOF {
			return nil // a line without an end was torn: its event is delivered again
		}
		if err != nil {
			return fmt.Errorf("the dead letters of subscriber %s cannot be read: %w", s.name, err)
		}
		if letter, ok := parseDeadLetter(line); ok {
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
	return disk.Replace(s.folder, s.name+positionSuffix, append(text, '\n'))
}

// addDeadLetter makes a dead letter durable. That it cannot be written has to do
// with the disk, never with what it says.
func (s *store) addDeadLetter(letter DeadLetter) error {
	line, err := appendDeadLetter(nil, letter)
	if err != nil {
		return err
	}
	// A line that a crash tore must not swallow this one.
	if err := disk.Append(s.folder, s.name+lettersSuffix, append(append([]byte{'\n'}, line...), '\n')); err != nil {
		return err
	}
	s.remember(letter)
	return nil
}

// eventName cannot be within the members before the event: a quote within a
// string is escaped.
const eventName = `,"event":`

// appendDeadLetter appends a line, without its end, to b.
func appendDeadLetter(b []byte, letter DeadLetter) ([]byte, error) {
	line := letter.Event
	letter.Event, letter.Answer, letter.ID = nil, strings.ToValidUTF8(letter.Answer, "�"), strings.ToValidUTF8(letter.ID, "�")
	head, err := json.Marshal(letter)
	if err != nil {
		return nil, err
	}
	b = append(b, head[:len(head)-1]...)
	return append(append(append(b, eventName...), line...), '}'), nil
}

// parseDeadLetter reads a line; ok is false if it is torn.
func parseDeadLetter(line []byte) (letter DeadLetter, ok bool) {
	line = bytes.TrimSuffix(line, []byte("\n"))
	head, raw, found := bytes.Cut(line, []byte(eventName))
	if !found || !bytes.HasSuffix(raw, []byte("}")) || json.Unmarshal(append(bytes.Clone(head), '}'), &letter) != nil {
		return DeadLetter{}, false
	}
	letter.Event = raw[:len(raw)-1]
	return letter, true
}

func (s *store) remember(letter DeadLetter) {
	letter.Event = nil
	s.newest = append(s.newest, letter)
	if len(s.newest) > listed {
		s.newest = s.newest[len(s.newest)-listed:]
	}
}
