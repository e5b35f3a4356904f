package push

import (
	"math/rand/v2"
	"slices"
	"testing"

	"miniblog/internal/event"
)

// checkWindow checks what the window promises of itself.
func checkWindow(t *testing.T, w *window, underWay map[*delivery]bool, finished map[event.Sequence]bool) {
	t.Helper()
	for q := event.Sequence(1); q <= w.cursor(); q++ {
		if !finished[q] {
			t.Fatalf("the cursor is at %d, and event %d is not done", w.cursor(), q)
		}
	}
	bytes, suspects := 0, 0
	for i, d := range w.outstanding {
		if i > 0 && d.sequence <= w.outstanding[i-1].sequence {
			t.Fatalf("event %d is outstanding behind event %d", d.sequence, w.outstanding[i-1].sequence)
		}
		if d.done != finished[d.sequence] {
			t.Fatalf("event %d is done: %v", d.sequence, d.done)
		}
		bytes += len(d.line)
		if d.suspect {
			suspects++
		}
	}
	if bytes != w.bytes || suspects != w.suspects {
		t.Fatalf("the window counts %d bytes and %d suspects, and holds %d and %d", w.bytes, w.suspects, bytes, suspects)
	}
	if len(w.outstanding) > 0 && w.outstanding[0].done {
		t.Fatal("what is done stays at the front")
	}
	lanes := 0
	for key, l := range w.lanes {
		if l.key != key || len(l.queue) == 0 {
			t.Fatalf("lane %q is %+v", key, l)
		}
		busy := underWay[l.queue[0]]
		ready := 0
		for _, r := range w.ready {
			if r == l {
				ready++
			}
		}
		if busy && ready != 0 || !busy && ready != 1 {
			t.Fatalf("lane %q, under way: %v, is ready %d times", key, busy, ready)
		}
		lanes += ready
		if !slices.IsSortedFunc(l.queue, func(a, b *delivery) int { return int(a.sequence) - int(b.sequence) }) {
			t.Fatalf("lane %q is out of order", key)
		}
	}
	if lanes != len(w.ready) {
		t.Fatalf("%d lanes are ready, and %d of them are there", len(w.ready), lanes)
	}
}

func TestWindowKeepsItsPromises(t *testing.T) {
	t.Parallel()
	for seed := range uint64(100) {
		random := rand.New(rand.NewPCG(seed, 0))
		w := newWindow(0)
		underWay, finished := map[*delivery]bool{}, map[event.Sequence]bool{}
		var busy []*delivery
		last := map[string]event.Sequence{}
		for range 300 {
			switch n := random.IntN(10); {
			case n < 3: // an event is read; some are not for this subscriber
				w.read++
				if random.IntN(4) == 0 {
					finished[w.read] = true
				} else {
					w.add(&delivery{sequence: w.read, line: make([]byte, random.IntN(100)), deliveredBefore: untried}, string(rune('a'+random.IntN(5))))
				}
			case n < 6:
				d := w.take()
				if random.IntN(2) == 0 && d == nil {
					d = w.takeUntried()
				}
				if d != nil {
					underWay[d], d.deliveredBefore = true, 0
					busy = append(busy, d)
				}
			case len(busy) > 0:
				i := random.IntN(len(busy))
				d := busy[i]
				busy = slices.Delete(busy, i, i+1)
				delete(underWay, d)
				w.suspect(d, random.IntN(3) == 0)
				if n < 8 {
					w.release(d)
					break
				}
				if d.sequence < last[d.lane.key] {
					t.Fatalf("event %d of lane %s is done after event %d", d.sequence, d.lane.key, last[d.lane.key])
				}
				last[d.lane.key], finished[d.sequence] = d.sequence, true
				w.finish(d)
			}
			checkWindow(t, w, underWay, finished)
		}
		for len(w.outstanding) > 0 { // in the end everything gets through
			for d := w.take(); d != nil; d = w.take() {
				underWay[d] = true
				busy = append(busy, d)
			}
			for _, d := range busy {
				delete(underWay, d)
				finished[d.sequence] = true
				w.finish(d)
			}
			busy = nil
			checkWindow(t, w, underWay, finished)
		}
		if w.cursor() != w.read || w.bytes != 0 || len(w.lanes) != 0 {
			t.Fatalf("seed %d: the cursor is at %d of %d, %d bytes and %d lanes are left", seed, w.cursor(), w.read, w.bytes, len(w.lanes))
		}
	}
}

func TestWindowIsFullByNumberAndByBytes(t *testing.T) {
	w := newWindow(0)
	for !w.full() {
		w.read++
		w.add(&delivery{sequence: w.read}, "a")
	}
	if w.read != windowEvents {
		t.Errorf("full with %d events", w.read)
	}
	w = newWindow(0)
	for !w.full() {
		w.read++
		w.add(&delivery{sequence: w.read, line: make([]byte, 1<<20)}, "a")
	}
	if w.read != windowBytes>>20 {
		t.Errorf("full with %d MiB", w.read)
	}
}
