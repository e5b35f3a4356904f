package push

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"miniblog/internal/disk"
	"miniblog/internal/event"
)

// Position is what is kept of a subscriber, in NAME.json.
type Position struct {
	Log     string         `json:"log"`    // the id of the log that Cursor is a position in
	Cursor  event.Sequence `json:"cursor"` // everything up to here was delivered or is a dead letter
	Stopped bool           `json:"stopped,omitzero"`

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
	Reason   string         `json:"reason,omitzero"` // the status of the last answer, or a word: no_answer, cut_off, bad_reply
	Status   int            `json:"status,omitzero"` // of the last answer
	Answer   string         `json:"answer"`          // its beginning, or why there was none
	Event    jsontext.Value `json:"event,omitzero"`
}

// answerBytes is how much of an answer is kept.
const answerBytes = 512

// store keeps one subscriber's position and dead letters in a folder: what its
// methods have returned nil for survives any crash. It belongs to the
// subscriber's dispatcher.
//
//	NAME.json          the position
//	NAME.dead.ndjson   a line a dead letter; a later one of the same event
//	                   replaces it, {"removed":SEQUENCE} takes it out
type store struct {
	folder disk.Folder
	dir    string // its path, for people
	name   string
	places map[event.Sequence]place // of the dead letters in their file
	wasted int64                    // bytes of lines that count no more
	needed int64                    // bytes of those that do
}

// place is where a line is in its file, without its end.
type place struct{ offset, size int64 }

func newStore(dir, name string) *store {
	return &store{folder: disk.Dir(dir), dir: dir, name: name, places: map[event.Sequence]place{}}
}

// path says to a person where a file is.
func (s *store) path(suffix string) string { return filepath.Join(s.dir, s.name+suffix) }

// The names of a subscriber's files.
const (
	positionSuffix = ".json"
	lettersSuffix  = ".dead.ndjson"
)

// load returns the position; found is false if there is none yet. It calls keep
// for each dead letter, without its event.
func (s *store) load(keep func(DeadLetter)) (p Position, found bool, err error) {
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
	return p, true, s.loadLetters(keep)
}

// loadLetters finds the dead letters, reading one at a time: there may be very
// many. A line without an end was torn: its event is delivered again.
func (s *store) loadLetters(keep func(DeadLetter)) error {
	f, err := s.folder.Open(s.name + lettersSuffix)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	lines := bufio.NewReaderSize(io.NewSectionReader(f, 0, math.MaxInt64), 64<<10)
	for offset := int64(0); ; {
		line, err := lines.ReadBytes('\n')
		if err == io.EOF {
			break
		}
		if err != nil {
			return fmt.Errorf("the dead letters of subscriber %s cannot be read: %w", s.name, err)
		}
		size := int64(len(line)) - 1
		if letter, ok := parseDeadLetter(line); ok {
			s.put(letter.Sequence, place{offset, size})
		} else if q, ok := parseRemoved(line); ok {
			s.drop(q)
			s.wasted += size
		}
		offset += size + 1
	}
	for _, q := range slices.Sorted(maps.Keys(s.places)) {
		letter, err := s.letter(q)
		if err != nil {
			return err
		}
		letter.Event = nil
		keep(letter)
	}
	return nil
}

// putAside keeps the dead letters of another log in a file of its own: their
// sequences mean nothing in this one.
func (s *store) putAside(log string) error {
	s.places, s.wasted, s.needed = map[event.Sequence]place{}, 0, 0
	err := s.folder.Rename(s.name+lettersSuffix, s.name+".dead."+log+".ndjson")
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return errors.Join(err, s.folder.SyncDir())
}

func (s *store) put(q event.Sequence, at place) {
	s.drop(q)
	s.places[q] = at
	s.needed += at.size
}

func (s *store) drop(q event.Sequence) {
	s.needed -= s.places[q].size
	s.wasted += s.places[q].size
	delete(s.places, q)
}

// save makes p durable.
func (s *store) save(p Position) error {
	text, err := json.Marshal(p)
	if err != nil {
		return err
	}
	return disk.Replace(s.folder, s.name+positionSuffix, append(text, '\n'))
}

// add makes a dead letter durable, in place of an earlier one of its event. That
// it cannot be written has to do with the disk, never with what it says.
func (s *store) add(letter DeadLetter) error {
	line, err := letter.Append(nil)
	if err != nil {
		return err
	}
	at, err := s.append(line)
	if err != nil {
		return err
	}
	s.put(letter.Sequence, at)
	return nil
}

// remove takes a dead letter out, durably.
func (s *store) remove(q event.Sequence) error {
	at, err := s.append(fmt.Appendf(nil, `{"removed":"%s"}`, q))
	if err != nil {
		return err
	}
	s.drop(q)
	s.wasted += at.size
	return s.compact()
}

// append adds a line to the dead letters. A line that a crash tore must not
// swallow it.
func (s *store) append(line []byte) (place, error) {
	var size int64
	f, err := s.folder.Open(s.name + lettersSuffix)
	if err == nil {
		size, err = f.Size()
		f.Close()
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return place{}, err
	}
	err = disk.Append(s.folder, s.name+lettersSuffix, append(append([]byte{'\n'}, line...), '\n'))
	return place{size + 1, int64(len(line))}, err
}

// wastedBytes is what the file may hold that counts no more, before it is
// written anew.
const wastedBytes = 1 << 20

// compact writes the file of dead letters anew when most of it counts no more.
func (s *store) compact() error {
	if s.wasted < wastedBytes || s.wasted < s.needed {
		return nil
	}
	old, err := s.folder.Open(s.name + lettersSuffix)
	if err != nil {
		return err
	}
	defer old.Close()
	places, size := make(map[event.Sequence]place, len(s.places)), int64(0)
	f, err := disk.Make(s.folder, s.name+lettersSuffix, func(f disk.File) error {
		for _, q := range slices.Sorted(maps.Keys(s.places)) {
			line := make([]byte, s.places[q].size+1)
			if _, err := old.ReadAt(line, s.places[q].offset); err != nil {
				return err
			}
			if _, err := f.WriteAt(line, size); err != nil {
				return err
			}
			places[q] = place{size, int64(len(line)) - 1}
			size += int64(len(line))
		}
		return nil
	})
	if err != nil {
		if errors.Is(err, disk.ErrUnchanged) {
			return nil // the next removal tries it again
		}
		return err
	}
	s.places, s.wasted = places, 0
	return f.Close()
}

// letter reads a dead letter with its event.
func (s *store) letter(q event.Sequence) (DeadLetter, error) {
	at, found := s.places[q]
	if !found {
		return DeadLetter{}, ErrNoLetter
	}
	f, err := s.folder.Open(s.name + lettersSuffix)
	if err != nil {
		return DeadLetter{}, err
	}
	defer f.Close()
	line := make([]byte, at.size)
	if _, err := f.ReadAt(line, at.offset); err != nil {
		return DeadLetter{}, fmt.Errorf("the dead letter of event %d cannot be read from %s: %w", q, s.path(lettersSuffix), err)
	}
	letter, ok := parseDeadLetter(line)
	if !ok || letter.Sequence != q {
		return DeadLetter{}, fmt.Errorf("the dead letter of event %d is not where it was written in %s: was the file changed?", q, s.path(lettersSuffix))
	}
	return letter, nil
}

// eventName cannot be within the members before the event: a quote within a
// string is escaped.
const eventName = `,"event":`

// Append appends the letter as JSON, without a line's end, to b.
func (letter DeadLetter) Append(b []byte) ([]byte, error) {
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
	if letter.Reason == "" { // written before there were reasons
		letter.Reason = reasonOf(letter)
	}
	return letter, true
}

// parseRemoved reads a line that takes a dead letter out.
func parseRemoved(line []byte) (q event.Sequence, ok bool) {
	var removal struct {
		Removed event.Sequence `json:"removed"`
	}
	err := json.Unmarshal(line, &removal, json.RejectUnknownMembers(true))
	return removal.Removed, err == nil && removal.Removed != 0
}

// reasonOf returns the reason of a letter by its last answer.
func reasonOf(letter DeadLetter) string {
	switch {
	case letter.Status/100 == 2:
		return outcomes[badReply]
	case letter.Status != 0:
		return strconv.Itoa(letter.Status)
	case strings.HasPrefix(letter.Answer, noAnswer):
		return outcomes[silent]
	default:
		return outcomes[cut]
	}
}
