package eventlog

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"miniblog/internal/disk"
	"miniblog/internal/event"
)

// threeSegments returns the folder of a log with two sealed segments and an
// active one, and the names of all three.
func threeSegments(t *testing.T) (dir string, names [3]string, last event.Sequence) {
	dir = t.TempDir()
	l := mustOpen(t, dir, Options{SegmentBytes: 10 << 10})
	for i := 0; ; i++ {
		mustAppend(t, l, records(t, i*7, 7))
		if _, n := l.Size(); n == 3 {
			break
		}
	}
	mustAppend(t, l, records(t, 100000, 7))
	waitSealed(t, l)
	for i, s := range l.segments {
		names[i] = s.name
	}
	last = l.Last()
	mustClose(t, l)
	return dir, names, last
}

func TestRepairKeepsWhatHolds(t *testing.T) {
	flipAt := func(at func(size int64) int64) func(t *testing.T, path string) {
		return func(t *testing.T, path string) {
			b, err := os.ReadFile(path)
			if err == nil {
				b[at(int64(len(b)))] ^= 4
				err = os.WriteFile(path, b, 0o644)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	remove := func(t *testing.T, path string) {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name    string
		segment int
		damage  func(t *testing.T, path string)
		all     bool // every event survives
	}{
		{"nothing is lost with the index of a sealed segment", 0, flipAt(func(size int64) int64 { return size - 30 }), true},
		{"data of the first segment is damaged", 0, flipAt(func(size int64) int64 { return 60 }), false},
		{"data of the second segment is damaged", 1, flipAt(func(size int64) int64 { return 60 }), false},
		{"a segment is gone", 1, remove, false},
		{"the newest segment is gone", 2, remove, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir, names, last := threeSegments(t)
			c.damage(t, filepath.Join(dir, names[c.segment]))
			var damage *Damage
			if err := Check(dir, io.Discard, func(Batch) error { return nil }); !errors.As(err, &damage) {
				t.Fatalf("the check says %v, want damage", err)
			}
			said, err := Repair(dir)
			if err != nil {
				t.Fatal(err)
			}
			t.Log(said)
			l := mustOpen(t, dir, Options{})
			defer mustClose(t, l)
			kept := event.Sequence(len(readAll(t, l, 0)))
			if c.all && kept != last {
				t.Errorf("%d of %d events survived", kept, last)
			}
			if !c.all && kept != damage.Event-1 {
				t.Errorf("%d events survived, want those before %d", kept, damage.Event)
			}
			mustAppend(t, l, records(t, 200000, 3))
		})
	}
}

func TestCheckReadsWhatOpenTakes(t *testing.T) {
	dir, names, last := threeSegments(t)
	path := filepath.Join(dir, names[2])
	torn := batchesEnd(t, path) - 1
	if err := os.Truncate(path, torn); err != nil {
		t.Fatal(err)
	}
	events := 0
	var report strings.Builder
	if err := Check(dir, &report, func(b Batch) error { events += b.Count; return nil }); err != nil {
		t.Fatal(err)
	}
	if events != int(last)-7 {
		t.Errorf("%d events, want %d", events, last-7)
	}
	lines := strings.Split(strings.TrimSpace(report.String()), "\n")
	if len(lines) != 4 {
		t.Fatalf("the report has not a line for each of 3 segments and one for the sum:\n%s", &report)
	}
	if want := fmt.Sprintf("%d events hold: ", events); !strings.HasPrefix(lines[3], want) {
		t.Errorf("the sum is %q, want %q", lines[3], want)
	}
	for i, line := range lines[:3] {
		if !strings.HasPrefix(line, names[i]+"  events ") {
			t.Errorf("segment %s is reported as %q", names[i], line)
		}
		if torn := strings.HasSuffix(line, "bytes of a batch that was never acknowledged"); torn != (i == 2) {
			t.Errorf("%q tells of a torn batch: %v", line, torn)
		}
	}
	after, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if after.Size() != torn {
		t.Errorf("the check changed the segment from %d to %d bytes", torn, after.Size())
	}
}

// batchesEnd returns where in a segment the batches end.
func batchesEnd(t *testing.T, path string) int64 {
	t.Helper()
	f, err := disk.Dir(filepath.Dir(path)).Open(filepath.Base(path))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		t.Fatal(err)
	}
	first, _, _ := parseName(filepath.Base(path))
	s := &segment{file: f, first: first, last: first - 1}
	if err := s.scan(size); err != nil && !isDamage(err) {
		t.Fatal(err)
	}
	return s.size
}

// A log whose newest segment ends with room is whole: nothing is torn, and to
// repair there is nothing.
func TestRoomIsNotTorn(t *testing.T) {
	dir, names, last := threeSegments(t)
	path := filepath.Join(dir, names[2])
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before = append(appendRoom(before, 1000), make([]byte, 1000-roomHeader)...)
	if err := os.WriteFile(path, before, 0o644); err != nil {
		t.Fatal(err)
	}
	var report strings.Builder
	events := 0
	if err := Check(dir, &report, func(b Batch) error { events += b.Count; return nil }); err != nil {
		t.Fatal(err)
	}
	if events != int(last) || strings.Contains(report.String(), "never acknowledged") {
		t.Errorf("of %d events %d are read:\n%s", last, events, &report)
	}
	if said, err := Repair(dir); err != nil || !strings.HasPrefix(said, "Nothing is damaged") {
		t.Errorf("the repair says %q, %v", said, err)
	}
	if after, err := os.ReadFile(path); err != nil || !bytes.Equal(before, after) {
		t.Errorf("the segment was changed from %d to %d bytes, %v", len(before), len(after), err)
	}
	l := mustOpen(t, dir, Options{})
	if got := readAll(t, l, 0); len(got) != int(last) {
		t.Errorf("of %d events %d are read", last, len(got))
	}
	mustClose(t, l)
	if after, err := os.ReadFile(path); err != nil || !bytes.Equal(before[:len(before)-1000], after) {
		t.Errorf("a log that is closed has a segment of %d bytes, want %d, %v", len(after), len(before)-1000, err)
	}
}

// The tool that people have reads the segments of an open log, room and all.
func TestZstdcatReadsALogThatIsOpen(t *testing.T) {
	zstdcat, err := exec.LookPath("zstdcat")
	if err != nil {
		t.Skip("NOT CHECKED: zstdcat is not installed")
	}
	dir := t.TempDir()
	l := mustOpen(t, dir, Options{})
	defer mustClose(t, l)
	for i := range 40 {
		mustAppend(t, l, records(t, i*7, 7))
	}
	segment := filepath.Join(dir, activeName(1))
	if info, err := os.Stat(segment); err != nil || info.Size() == batchesEnd(t, segment) {
		t.Fatalf("the segment has no room, %v", err)
	}
	var said bytes.Buffer
	cmd := exec.Command(zstdcat, segment)
	cmd.Stderr = &said
	text, err := cmd.Output()
	if err != nil {
		t.Fatalf("zstdcat: %v: %s", err, &said)
	}
	sequence := event.Sequence(0)
	for line := range (Batch{Text: text}).Lines() {
		sequence++
		checkLine(t, line, sequence)
	}
	if sequence != l.Last() {
		t.Errorf("zstdcat prints %d of %d events", sequence, l.Last())
	}
}

// A repair that was cut short has lost nothing: it can be run again, and until
// then the log is as damaged as before, or repaired.
func TestRepairThatWasCutShortCanBeRunAgain(t *testing.T) {
	for name, cutShort := range map[string]func(dir string, d *Damage) error{
		"when the damaged segment was linked aside": func(dir string, d *Damage) error {
			aside := filepath.Join(dir, "damaged-x")
			return errors.Join(os.Mkdir(aside, 0o755), os.Link(filepath.Join(dir, d.File), filepath.Join(aside, d.File)))
		},
		"when the log's id was gone": func(dir string, d *Damage) error {
			return os.Remove(filepath.Join(dir, idFile))
		},
		"when what holds was beside what is damaged": func(dir string, d *Damage) error {
			first, _, _ := parseName(d.File)
			head, err := d.head(disk.Dir(dir), first)
			if err != nil {
				return err
			}
			return disk.Replace(disk.Dir(dir), activeName(first), head)
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir, names, last := threeSegments(t)
			path := filepath.Join(dir, names[0])
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			b[len(b)-30] ^= 4 // in its index: all events hold
			if err := os.WriteFile(path, b, 0o644); err != nil {
				t.Fatal(err)
			}
			var damage *Damage
			if err := Check(dir, io.Discard, func(Batch) error { return nil }); !errors.As(err, &damage) {
				t.Fatalf("the check says %v, want damage", err)
			}
			if err := cutShort(dir, damage); err != nil {
				t.Fatal(err)
			}
			if _, err := Repair(dir); err != nil {
				t.Fatal(err)
			}
			l := mustOpen(t, dir, Options{})
			defer mustClose(t, l)
			if got := event.Sequence(len(readAll(t, l, 0))); got != last {
				t.Errorf("%d of %d events survived", got, last)
			}
		})
	}
}

// A full segment is there in both forms for a moment. If its active form rots
// then, nothing is lost: the sealed one is whole.
func TestRepairFallsBackOnTheSealedForm(t *testing.T) {
	dir, names, last := threeSegments(t)
	sealed, err := os.ReadFile(filepath.Join(dir, names[0]))
	if err != nil {
		t.Fatal(err)
	}
	damaged := append([]byte{0}, sealed...)
	if err := os.WriteFile(filepath.Join(dir, activeName(1)), damaged, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Repair(dir); err != nil {
		t.Fatal(err)
	}
	l := mustOpen(t, dir, Options{})
	defer mustClose(t, l)
	if got := event.Sequence(len(readAll(t, l, 0))); got != last {
		t.Errorf("%d of %d events survived", got, last)
	}
}
