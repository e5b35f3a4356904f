package eventlog

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"miniblog/internal/event"
)

func TestDamage(t *testing.T) {
	// Three batches of two events: what survives damage in each part of them.
	build := func(t *testing.T) (path string, offsets []int64, size int64) {
		dir := t.TempDir()
		l := mustOpen(t, dir, Options{})
		for i := range 3 {
			mustAppend(t, l, records(t, i*2, 2))
		}
		for _, e := range l.activeLocked().entries {
			offsets = append(offsets, e.offset)
		}
		size = l.activeLocked().size
		mustClose(t, l)
		return filepath.Join(dir, activeName(1)), offsets, size
	}
	flip := func(path string, at int64) error {
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		b[at] ^= 0x10
		return os.WriteFile(path, b, 0o644)
	}
	const refused = 99
	for _, c := range []struct {
		name   string
		damage func(path string, batches []int64, size int64) error
		want   event.Sequence // events that survive
	}{
		{"torn header of the newest batch is cut", func(p string, b []int64, _ int64) error { return os.Truncate(p, b[2]+10) }, 4},
		{"torn data of the newest batch is cut", func(p string, _ []int64, size int64) error { return os.Truncate(p, size-1) }, 4},
		{"newest batch that never came is fine", func(p string, b []int64, _ int64) error { return os.Truncate(p, b[2]) }, 4},
		{"zeroes behind the newest batch are cut", func(p string, _ []int64, size int64) error { return os.Truncate(p, size+5000) }, 6},
		{"flipped bit in the newest batch looks torn", func(p string, _ []int64, size int64) error { return flip(p, size-3) }, 4},
		{"flipped bit in older data is refused", func(p string, b []int64, _ int64) error { return flip(p, b[1]+headerSize+5) }, refused},
		{"flipped bit in an older header is refused", func(p string, b []int64, _ int64) error { return flip(p, b[1]+20) }, refused},
		{"flipped bit in the oldest header is refused", func(p string, _ []int64, _ int64) error { return flip(p, 1) }, refused},
	} {
		t.Run(c.name, func(t *testing.T) {
			path, batches, size := build(t)
			if err := c.damage(path, batches, size); err != nil {
				t.Fatal(err)
			}
			l, err := Open(filepath.Dir(path), Options{Logger: quiet})
			var damage *Damage
			if c.want == refused {
				if !errors.As(err, &damage) {
					t.Fatalf("opened with %v, want damage", err)
				}
				if damage.File != activeName(1) {
					t.Errorf("the damage is said to be in %s", damage.File)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := len(readAll(t, l, 0)); got != int(c.want) {
				t.Errorf("%d events survived, want %d", got, c.want)
			}
			mustAppend(t, l, records(t, 100, 1))
			mustClose(t, l)
			l = mustOpen(t, filepath.Dir(path), Options{})
			defer mustClose(t, l)
			if got := len(readAll(t, l, 0)); got != int(c.want)+1 {
				t.Errorf("%d events after life went on, want %d", got, c.want+1)
			}
		})
	}
}
