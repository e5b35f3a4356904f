package eventlog

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"miniblog/internal/disk"
	"miniblog/internal/event"
)

// Check reads a whole log that nobody has open, changes nothing, hands each batch
// to visit, and writes to report: a line for each segment that holds and, if all
// do, the sum. It returns visit's error, or a *Damage for the first event that
// cannot be read.
func Check(dir string, report io.Writer, visit func(Batch) error) error {
	unlock, err := lock(dir)
	if err != nil {
		return err
	}
	defer unlock()
	folder := disk.Dir(dir)
	names, err := folder.List()
	if err != nil {
		return err
	}
	if _, err := storedID(folder, names); err != nil {
		return fmt.Errorf("the log's id: %w", err)
	}
	r := recovered{readOnly: true}
	defer r.close()
	if err := r.load(folder, names); err != nil {
		return err
	}
	if err := r.checkOrder(); err != nil {
		return err
	}
	events, lines, stored := 0, 0, int64(0)
	for i, s := range r.segments {
		err := s.check(func(b Batch) error {
			events += b.Count
			lines += len(b.Text)
			return visit(b)
		})
		if err != nil {
			return err
		}
		stored += s.size
		fmt.Fprintf(report, "%s  events %d to %d, %d bytes", s.name, s.first, s.last, s.size)
		if i == len(r.segments)-1 && r.torn > 0 {
			fmt.Fprintf(report, ", then %d bytes of a batch that was never acknowledged", r.torn)
		}
		fmt.Fprintln(report)
	}
	fmt.Fprintf(report, "%d events hold: %d bytes, %d on disk\n", events, lines, stored)
	return nil
}

// check decodes every batch of s and looks at every event's sequence.
func (s *segment) check(visit func(Batch) error) error {
	next := s.first
	for _, e := range s.entries {
		b, lines, err := s.readLines(e, nil)
		if err != nil {
			return err
		}
		decoded := Batch{b.first, int(b.count), lines}
		for text := range decoded.Lines() {
			if line, ok := event.ReadLine(text); !ok || line.Sequence() != next {
				return s.damage(e.offset, next, errors.New("another event stands in its place"))
			}
			next++
		}
		if err := visit(decoded); err != nil {
			return err
		}
	}
	if next != s.last+1 {
		return s.damage(s.size, next, fmt.Errorf("the segment should reach to event %d", s.last))
	}
	return nil
}

// Repair cuts a damaged log off before the first event that cannot be read, and
// says what it did. What it takes away it keeps in a folder beside. If anything
// was lost, the log gets a new id, so that every projection starts again from
// 0: some have applied events that are now gone.
func Repair(dir string) (string, error) {
	aside := filepath.Join(dir, "damaged-"+time.Now().UTC().Format("20060102T150405.000Z"))
	for moved := 0; ; moved++ {
		last := event.Sequence(0)
		err := Check(dir, io.Discard, func(b Batch) error { last = b.Last(); return nil })
		var damage *Damage
		switch {
		case err == nil && moved == 0:
			return "Nothing is damaged; nothing was changed.", nil
		case err == nil:
			return fmt.Sprintf("Kept the events up to %d. What was taken away is in %s.", last, aside), nil
		case !errors.As(err, &damage):
			return "", err
		}
		if err := damage.moveAside(dir, aside); err != nil {
			return "", err
		}
	}
}

// moveAside keeps the damaged segment and the log's id aside and leaves what
// holds of the segment. A crash on the way loses nothing: the log is as damaged
// as it was, or repaired.
func (d *Damage) moveAside(dir, aside string) error {
	unlock, err := lock(dir)
	if err != nil {
		return err
	}
	defer unlock()
	if err := os.MkdirAll(aside, 0o755); err != nil {
		return err
	}
	for _, name := range []string{idFile, d.File} {
		err := os.Link(filepath.Join(dir, name), filepath.Join(aside, name))
		if err != nil && !errors.Is(err, os.ErrNotExist) && !errors.Is(err, os.ErrExist) {
			return err
		}
	}
	if err := errors.Join(disk.Dir(aside).SyncDir(), disk.Dir(dir).SyncDir()); err != nil {
		return err
	}
	if err := os.Remove(filepath.Join(dir, idFile)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := d.replace(disk.Dir(dir)); err != nil {
		return err
	}
	return disk.Dir(dir).SyncDir()
}

// replace puts what holds of the damaged segment in its place. Sealed or not,
// that is a run of batches: an active segment.
func (d *Damage) replace(folder disk.Dir) error {
	first, sealed, _ := parseName(d.File)
	head, err := d.head(folder, first)
	if err != nil {
		return err
	}
	if len(head) == 0 && !errors.Is(d.Err, errMissing) {
		return folder.Remove(d.File)
	}
	if err := disk.Replace(folder, activeName(first), head); err != nil {
		return err
	}
	if sealed {
		return folder.Remove(d.File)
	}
	return nil
}

// head returns the bytes of the damaged segment's batches that hold, up to the
// event that is damaged.
func (d *Damage) head(folder disk.Dir, first event.Sequence) ([]byte, error) {
	if d.Event < first || errors.Is(d.Err, errMissing) {
		return nil, nil
	}
	if _, err := os.Stat(folder.Path(sealedName(first))); err == nil && d.File == activeName(first) {
		return nil, nil // its sealed form is there, too
	}
	f, err := folder.Open(d.File)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	s := &segment{name: d.File, file: f, first: first, last: first - 1}
	if err := s.scan(size); err != nil && !isDamage(err) {
		return nil, err
	}
	end := s.size // of the batches whose checksums match
	if d.Event <= s.last && !errors.Is(d.Err, errIndex) {
		end = s.entries[find(s.entries, d.Event)].offset
	}
	head := make([]byte, end)
	_, err = f.ReadAt(head, 0)
	return head, err
}
