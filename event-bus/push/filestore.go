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
	"strings"

	"github.com/go-json-experiment/json"

	"miniblog/internal/disk"
	"miniblog/internal/event"
)

// fileStore is a Store in a folder of this machine.
//
//	NAME.json          the position
//	NAME.dead.ndjson   a line a dead letter; a later one of the same event
//	                   replaces it, {"removed":SEQUENCE} takes it out
type fileStore struct {
	folder disk.Folder
	dir    string // its path, for people
	name   string
	places map[event.Sequence]place // of the dead letters in their file
	wasted int64                    // bytes of lines that count no more
	needed int64                    // bytes of those that do
}

// place is where a line is in its file, without its end.
type place struct{ offset, size int64 }

func newFileStore(dir, name string) *fileStore {
	return &fileStore{folder: disk.Dir(dir), dir: dir, name: name, places: map[event.Sequence]place{}}
}

// path says to a person where a file is.
func (s *fileStore) path(suffix string) string { return filepath.Join(s.dir, s.name+suffix) }

// The names of a subscriber's files.
const (
	positionSuffix = ".json"
	lettersSuffix  = ".dead.ndjson"
)

// Load implements Store.
func (s *fileStore) Load(keep func(DeadLetter)) (p Position, found bool, err error) {
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
func (s *fileStore) loadLetters(keep func(DeadLetter)) error {
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
		letter, err := s.Letter(q)
		if err != nil {
			return err
		}
		letter.Event = nil
		keep(letter)
	}
	return nil
}

// PutAside implements Store: they are kept in a file of their own.
func (s *fileStore) PutAside(log string) error {
	s.places, s.wasted, s.needed = map[event.Sequence]place{}, 0, 0
	err := s.folder.Rename(s.name+lettersSuffix, s.name+".dead."+log+".ndjson")
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return errors.Join(err, s.folder.SyncDir())
}

func (s *fileStore) put(q event.Sequence, at place) {
	s.drop(q)
	s.places[q] = at
	s.needed += at.size
}

func (s *fileStore) drop(q event.Sequence) {
	s.needed -= s.places[q].size
	s.wasted += s.places[q].size
	delete(s.places, q)
}

// Save implements Store.
func (s *fileStore) Save(p Position) error {
	text, err := json.Marshal(p)
	if err != nil {
		return err
	}
	return disk.Replace(s.folder, s.name+positionSuffix, append(text, '\n'))
}

// Add implements Store. That a letter cannot be written has to do with the disk,
// never with what it says.
func (s *fileStore) Add(letter DeadLetter) error {
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

// Remove implements Store.
func (s *fileStore) Remove(q event.Sequence) error {
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
func (s *fileStore) append(line []byte) (place, error) {
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
func (s *fileStore) compact() error {
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

// Letter implements Store.
func (s *fileStore) Letter(q event.Sequence) (DeadLetter, error) {
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
