package eventlog

import (
	"fmt"
	"strings"
	"testing"

	"miniblog/internal/disk/crashdisk"
	"miniblog/internal/event"
)

// Publishers that wait for one sync share the next one.
func TestPublishersThatWaitShareOneSync(t *testing.T) {
	for _, test := range []struct {
		name                   string
		splitBytes, publishers int
	}{{"as one batch", 1 << 20, 16}, {"as several batches", 1 << 8, 16}, {"few", 1 << 20, 3}, {"many", 1 << 20, 3 * manyPublishers}} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t, Options{splitBytes: test.splitBytes})
			begun := len(w.disk.Trace())
			if err := w.together(test.publishers); err != nil {
				t.Fatal(err)
			}
			writes, syncs := 0, 0
			for _, e := range w.disk.Trace()[begun:] {
				if strings.HasPrefix(e.What, "write ") {
					writes++
				}
				if strings.HasPrefix(e.What, "sync ") {
					syncs++
				}
			}
			if writes != 2 || syncs != 2 {
				t.Errorf("%d publishers, of whom one came first, took %d writes and %d syncs, want 2 and 2", test.publishers, writes, syncs)
			}
		})
	}
}

// The newest batches are kept in memory, recentBytes of their lines at most,
// and found there by each of their sequences.
func TestMemoryOfNewestBatchesIsBounded(t *testing.T) {
	const count, bytes = 10, recentBytes / 8
	var r recent
	text := make([]byte, bytes)
	batch := func(i int) Batch { return Batch{First: event.Sequence(1 + i*count), Count: count, Text: text} }
	for i := range 100 {
		r.add(batch(i), nil)
		oldest := max(0, i-7)
		if want := (i + 1 - oldest) * bytes; r.bytes != want {
			t.Fatalf("after %d batches it says that it holds %d bytes, want %d", i+1, r.bytes, want)
		}
		if len(r.batches) != i+1-oldest {
			t.Fatalf("after %d batches it holds %d", i+1, len(r.batches))
		}
		for sequence := batch(oldest).First; sequence <= batch(i).Last(); sequence++ {
			b, ok := r.find(sequence)
			if !ok {
				t.Fatalf("after %d batches event %d is not found", i+1, sequence)
			}
			if b.First > sequence || b.Last() < sequence {
				t.Fatalf("event %d is said to be in the batch of %d to %d", sequence, b.First, b.Last())
			}
		}
		for _, sequence := range []event.Sequence{0, batch(oldest).First - 1, batch(i).Last() + 1} {
			if _, ok := r.find(sequence); ok {
				t.Fatalf("after %d batches event %d is found, and cannot be there", i+1, sequence)
			}
		}
	}
	r.add(Batch{First: batch(100).First, Count: 1, Text: make([]byte, recentBytes+1)}, nil)
	if r.bytes != 0 {
		t.Errorf("a batch that is too large is kept, with %d bytes", r.bytes)
	}
}

// Who follows the log reads it from memory: not one read of the disk.
func TestFollowersDoNotReadTheDisk(t *testing.T) {
	w := newWorld(t, Options{})
	w.disk.Inject(func(op crashdisk.Op) *crashdisk.Fault {
		if op.Kind == "read" || op.Kind == "open" {
			return &crashdisk.Fault{Err: fmt.Errorf("a follower read the disk")}
		}
		return nil
	})
	reader := w.log.Reader(0)
	defer reader.Close()
	for i := range 20 {
		if err := w.append(w.event(quoted(i))); err != nil {
			t.Fatal(err)
		}
		b, err := reader.Next()
		if err != nil {
			t.Fatal(err)
		}
		if b.First != event.Sequence(i+1) || b.Count != 1 {
			t.Fatalf("the follower got %d events from %d, want event %d", b.Count, b.First, i+1)
		}
	}
}
