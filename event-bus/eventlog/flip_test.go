package eventlog

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"miniblog/internal/disk/crashdisk"
)

// smallLog returns the disk of a closed log of a sealed segment and an active
// one with three batches and room, its events, and where its newest batch starts
// and ends.
func smallLog(t *testing.T) (disk *crashdisk.Disk, lines [][]byte, newest, end int64) {
	t.Helper()
	disk = crashdisk.New()
	w, err := openWorld(disk, disk, Options{SegmentBytes: 200})
	if err != nil {
		t.Fatal(err)
	}
	if err := inOrder(w, `"a"`, `"b"`, `"c"`); err != nil {
		t.Fatal(err)
	}
	if err := w.sealed(); err != nil {
		t.Fatal(err)
	}
	mustClose(t, w.log)
	w.options.SegmentBytes = 1 << 20
	if err := w.open(); err != nil {
		t.Fatal(err)
	}
	if err := inOrder(w, `"d"`, `"e"`, `"f"`); err != nil {
		t.Fatal(err)
	}
	if lines, err = linesOf(w.log); err != nil {
		t.Fatal(err)
	}
	active := w.log.activeLocked()
	if len(w.log.segments) != 2 || len(active.entries) != 3 {
		t.Fatalf("%d segments, %d batches in the last", len(w.log.segments), len(active.entries))
	}
	newest, end = active.entries[2].offset, active.size
	mustClose(t, w.log) // which takes the room off
	if err := disk.Damage(active.name, func(b []byte) []byte { return append(appendRoom(b, 20), make([]byte, 12)...) }); err != nil {
		t.Fatal(err)
	}
	return disk, lines, newest, end
}

// flips calls f for every bit of every file, flipped, and flips it back.
func flips(t *testing.T, disk *crashdisk.Disk, f func(name string, at int64) (string, error)) {
	t.Helper()
	random := newRandom(t)
	sums := map[string]int{}
	files := disk.Files()
	for _, name := range slices.Sorted(maps.Keys(files)) {
		for at := range files[name] {
			for bit := range 8 {
				if raceEnabled && !*exhaustive && random.IntN(4) > 0 {
					continue
				}
				flip := func(b []byte) []byte { b[at] ^= 1 << bit; return b }
				if err := disk.Damage(name, flip); err != nil {
					t.Fatal(err)
				}
				what, err := f(name, int64(at))
				if err != nil {
					t.Fatalf("bit %d of byte %d of %s: %v", bit, at, name, err)
				}
				sums[what]++
				if err := disk.Damage(name, flip); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	t.Log(sums)
}

// Every bit of a closed log, flipped, is reported or harmless when the log is
// opened and read. Only in the newest batch it looks like a batch that was torn
// when it was written: nothing was written later that could tell. In the room behind
// it a bit looks like one that never came, and takes no event away.
func TestEveryFlippedBitIsReportedOrHarmless(t *testing.T) {
	clean, lines, newest, end := smallLog(t)
	flips(t, clean, func(name string, at int64) (string, error) {
		disk := clean.Copy()
		l, err := open(disk, Options{Logger: quiet})
		if err != nil && name == idFile && strings.Contains(err.Error(), "holds no id") {
			return "reported at the start", nil
		}
		if err != nil {
			return "reported at the start", reportOf(err, name, at)
		}
		defer l.Close()
		got, err := linesOf(l)
		switch {
		case err != nil:
			return "reported to a reader", reportOf(err, name, at)
		case name == activeName(4) && at >= end && equalLines(got, lines):
			return "cut off with the room", nil
		case name == activeName(4) && at >= newest && at < end && equalLines(got, lines[:len(lines)-1]):
			return "taken for torn", nil
		case !equalLines(got, lines):
			return "", fmt.Errorf("events are missing or changed: %q", got)
		case name != idFile:
			return "", errors.New("a bit that means nothing")
		}
		return "harmless", nil
	})
}

// Rot under a log that is open reaches no reader either: not through the log's
// reader, nor in frames that are sent as they are on disk.
func TestFlippedBitUnderAnOpenLogReachesNoReader(t *testing.T) {
	disk, lines, _, _ := smallLog(t)
	l, err := open(disk, Options{Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	flips(t, disk, func(name string, at int64) (string, error) {
		got, err := linesOf(l)
		var damage *Damage
		switch {
		case errors.As(err, &damage):
			return "reported", reportOf(err, name, at)
		case err != nil:
			return "noticed by who decodes the frames", nil
		case !equalLines(got, lines):
			return "", fmt.Errorf("a reader got %q", got)
		}
		return "harmless", nil
	})
}

// reportOf returns what is wrong with a report of damage in byte at of a file.
func reportOf(err error, name string, at int64) error {
	var damage *Damage
	if !errors.As(err, &damage) {
		return err
	}
	switch {
	case damage.File != name:
		return fmt.Errorf("reported in %s: %w", damage.File, err)
	case damage.Offset > at:
		return fmt.Errorf("reported at byte %d, behind it: %w", damage.Offset, err)
	case damage.Event == 0 || damage.Event > 6:
		return fmt.Errorf("reported for event %d of 6: %w", damage.Event, err)
	}
	return nil
}

func equalLines(a, b [][]byte) bool { return slices.EqualFunc(a, b, bytes.Equal) }
