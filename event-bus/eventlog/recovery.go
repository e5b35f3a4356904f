package eventlog

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/google/uuid"

	"miniblog/internal/disk"
	"miniblog/internal/event"
)

// recovered is what a folder holds after a crash, a stop or a copy.
type recovered struct {
	readOnly bool // look, and change nothing
	id       string
	segments []*segment // in order, without a gap; the last one active
	torn     int64      // bytes of a batch that was never acknowledged, cut off
}

// idFile holds the log's id. Without it the log takes a new one, and every
// projection starts again from 0.
const idFile = "id"

// recoverLog reads the state of the folder and makes it one that can be
// appended to. It fails with *Damage when acknowledged events cannot be read.
// A crash in the middle of it does no harm.
func recoverLog(folder disk.Folder) (r recovered, err error) {
	defer func() {
		if err != nil {
			r.close()
		}
	}()
	names, err := folder.List()
	if err != nil {
		return r, err
	}
	if names, err = r.removeTemps(folder, names); err != nil {
		return r, err
	}
	if r.id, err = readID(folder, names); err != nil {
		return r, fmt.Errorf("the log's id: %w", err)
	}
	if err = r.load(folder, names); err != nil {
		return r, err
	}
	if err = r.checkOrder(); err != nil {
		return r, err
	}
	if err = r.begin(folder); err != nil {
		return r, err
	}
	// The newest segment may be one that begin had no room to replace: a process
	// that was killed before it had synced the name left it here.
	return r, folder.SyncDir()
}

// begin makes sure that there is a segment to write to. One that is empty is
// begun anew: the sync of its name may have failed, and would not say so again.
func (r *recovered) begin(folder disk.Folder) error {
	first, n := event.Sequence(1), len(r.segments)
	if n > 0 {
		if first = r.segments[n-1].first; r.segments[n-1].last >= first {
			return nil
		}
	}
	active, err := createActive(folder, first)
	if n > 0 && errors.Is(err, disk.ErrUnchanged) && disk.IsFull(err) {
		return nil // the old one must do
	}
	if err != nil {
		return err
	}
	if n > 0 {
		r.segments[n-1].file.Close()
		r.segments = r.segments[:n-1]
	}
	r.segments = append(r.segments, active)
	return nil
}

func (r *recovered) close() {
	for _, s := range r.segments {
		s.file.Close()
	}
	r.segments = nil
}

// removeTemps removes what a crash left half written, and returns the other
// names.
func (r *recovered) removeTemps(folder disk.Folder, names []string) (others []string, err error) {
	for _, name := range names {
		if !strings.HasSuffix(name, disk.TempSuffix) {
			others = append(others, name)
		} else if err := r.remove(folder, name); err != nil {
			return nil, err
		}
	}
	return others, nil
}

// load opens the segments. Of one that is there in both forms the active one
// counts: it is durable, which the other's name need not be, and is sealed again.
func (r *recovered) load(folder disk.Folder, names []string) error {
	active := map[event.Sequence]bool{}
	for _, name := range names {
		if first, sealed, ok := parseName(name); ok {
			active[first] = active[first] || !sealed
		}
	}
	inOrder := slices.Sorted(maps.Keys(active))
	for i, first := range inOrder {
		name, read := sealedName(first), (*segment).loadIndex
		if active[first] {
			name, read = activeName(first), (*segment).scan
			if i == len(inOrder)-1 {
				read = r.scanTail
			}
		}
		if err := r.open(folder, name, first, read); err != nil {
			return err
		}
	}
	for _, name := range names {
		if first, sealed, ok := parseName(name); ok && sealed && active[first] {
			if err := r.remove(folder, name); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *recovered) remove(folder disk.Folder, name string) error {
	if r.readOnly {
		return nil
	}
	return folder.Remove(name)
}

func (r *recovered) open(folder disk.Folder, name string, first event.Sequence, read func(*segment, int64) error) error {
	f, err := folder.Open(name)
	if err != nil {
		return err
	}
	s := &segment{name: name, file: f, first: first, last: first - 1}
	r.segments = append(r.segments, s)
	size, err := f.Size()
	if err != nil {
		return err
	}
	if err = read(s, size); isDamage(err) {
		return s.damage(s.size, s.last+1, err)
	}
	return err
}

func isDamage(err error) bool {
	return errors.Is(err, errShort) || errors.Is(err, errHeader) || errors.Is(err, errData) || errors.Is(err, errIndex)
}

// scanTail scans the newest segment, which may end with room. A batch that does not hold there was
// being written when the process or the machine stopped, and is cut off with
// everything behind it, unless something behind it proves that it was durable.
//
// Rot in the very last batch looks the same as a torn write of it: nothing was
// written later that could tell. Everywhere else rot is reported.
func (r *recovered) scanTail(s *segment, size int64) error {
	if !r.readOnly {
		// What the last process wrote and did not sync is in the file, yet a crash
		// of the machine could take it back. And if a sync of it has failed, the
		// kernel has dropped it, may still show it, and would say now that all is
		// well: only what comes from the disk is there.
		if err := s.file.Sync(); err != nil {
			return err
		}
		if err := s.file.Forget(); err != nil {
			return err
		}
	}
	s.end = size
	bad := s.scan(size)
	if bad == nil || !isDamage(bad) {
		return bad
	}
	written, err := s.written(s.size, size)
	if err != nil {
		return err
	}
	if room, err := s.hasRoom(size, written); room || err != nil {
		return err
	}
	durable, err := s.durableAfter(s.size, size)
	if err != nil {
		return err
	}
	if durable > s.last {
		return bad
	}
	r.torn = written - s.size
	if r.readOnly {
		return nil
	}
	if err := s.trim(); err != nil {
		return fmt.Errorf("cutting a torn batch off %s: %w", s.name, err)
	}
	return nil
}

// checkOrder makes sure that no event is missing between two segments, that
// only the newest is cut off, and that it is there: a segment is sealed when the
// next one has begun.
func (r *recovered) checkOrder() error {
	next := event.Sequence(1)
	for i, s := range r.segments {
		if s.first != next {
			return s.damage(0, next, fmt.Errorf("events %d to %d are missing before it", next, s.first-1))
		}
		if i < len(r.segments)-1 && s.last < s.first {
			return s.damage(0, s.first, errShort)
		}
		next = s.last + 1
	}
	if n := len(r.segments); n > 0 && r.segments[n-1].sealed {
		return &Damage{File: activeName(next), Event: next, Err: errMissing}
	}
	return nil
}

// errMissing says that a whole segment is gone.
var errMissing = errors.New("the file is missing: a segment that was sealed has another one after it")

// createActive makes an empty segment whose name is durable: an event must not
// be acknowledged in a file that a crash could lose. Its error is that of disk.Make.
func createActive(folder disk.Folder, first event.Sequence) (*segment, error) {
	name := activeName(first)
	f, err := disk.Make(folder, name, func(disk.File) error { return nil })
	if err != nil {
		return nil, err
	}
	return &segment{name: name, file: f, first: first, last: first - 1}, nil
}

// readID returns the log's id, and gives it a new one if it has none.
func readID(folder disk.Folder, names []string) (string, error) {
	id, err := storedID(folder, names)
	if id != "" || err != nil {
		return id, err
	}
	id = event.NewID()
	return id, disk.Replace(folder, idFile, []byte(id+"\n"))
}

// storedID returns the log's id, "" if it has none. An id counts once there is
// a segment: its name was made durable before that. From then on the file is
// whole, and one that is not must not become another log without a word.
func storedID(folder disk.Folder, names []string) (string, error) {
	if !slices.Contains(names, idFile) || !slices.ContainsFunc(names, isSegment) {
		return "", nil
	}
	f, err := folder.Open(idFile)
	if err != nil {
		return "", err
	}
	defer f.Close()
	text := make([]byte, 36)
	if _, err := f.ReadAt(text, 0); err != nil && err != io.EOF {
		return "", err
	}
	if uuid.Validate(string(text)) != nil {
		return "", fmt.Errorf("the file %q holds no id: put it back from a backup, or remove it to give the log a new id, and everybody reads it again from the start", idFile)
	}
	return string(text), nil
}

func isSegment(name string) bool {
	_, _, ok := parseName(name)
	return ok
}
