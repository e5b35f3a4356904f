package crash

import (
	"bytes"
	"fmt"
	"hash/maphash"
	"slices"
	"strings"
	"sync"
	"testing"

	"miniblog/internal/event"
)

// told is what the clients of the bus were told. Nothing of it may change or be
// gone, whatever becomes of the process.
type told struct {
	mu        sync.Mutex
	events    map[event.Sequence]fact
	sequences map[string]event.Sequence // by id
	log       string                    // the log's id
	delivered map[event.Sequence]bool
	wrong     []string
}

// fact is what somebody knows of an event.
type fact struct {
	id  string
	sum uint64 // of its line; 0 if only its publisher knows of it
	who string
}

func newTold() *told {
	return &told{events: map[event.Sequence]fact{}, sequences: map[string]event.Sequence{}, delivered: map[event.Sequence]bool{}}
}

func (o *told) blameLocked(format string, args ...any) {
	if len(o.wrong) < 20 {
		o.wrong = append(o.wrong, fmt.Sprintf(format, args...))
	}
}

func (o *told) blame(format string, args ...any) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.blameLocked(format, args...)
}

// acknowledged notes that a publisher was told where its event is.
func (o *told) acknowledged(who, id string, q event.Sequence) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.tellLocked(q, fact{id, 0, who})
}

func (o *told) tellLocked(q event.Sequence, f fact) {
	if other, ok := o.sequences[f.id]; ok && other != q {
		o.blameLocked("%s was told that %s is event %d; before it was %d", f.who, f.id, q, other)
	}
	known, ok := o.events[q]
	if ok && (known.id != f.id || known.sum != 0 && f.sum != 0 && known.sum != f.sum) {
		o.blameLocked("%s was told that event %d is %s, %s that it is %s, or their bytes differ", f.who, q, f.id, known.who, known.id)
	}
	if !ok || known.sum == 0 {
		o.events[q] = f
	}
	o.sequences[f.id] = q
}

var seed = maphash.MakeSeed()

// saw notes an event's line that a reader got; it must be the one after the
// given sequence, which it returns.
func (o *told) saw(who string, line []byte, after event.Sequence) event.Sequence {
	line = bytes.TrimSpace(line)
	head, ok := event.ReadLine(line)
	o.mu.Lock()
	defer o.mu.Unlock()
	if !ok || head.Sequence() != after+1 {
		o.blameLocked("%s got after event %d: %.120q", who, after, line)
	}
	o.tellLocked(head.Sequence(), fact{string(head.ID()), maphash.Bytes(seed, line), who})
	return head.Sequence()
}

// deliver notes an event that was pushed.
func (o *told) deliver(line []byte) {
	head, ok := event.ReadLine(line)
	o.mu.Lock()
	defer o.mu.Unlock()
	if !ok {
		o.blameLocked("a subscriber got %.120q", line)
	}
	o.tellLocked(head.Sequence(), fact{string(head.ID()), maphash.Bytes(seed, line), "a subscriber"})
	o.delivered[head.Sequence()] = true
}

// isLog notes the id that the log says it has.
func (o *told) isLog(id string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.log != "" && o.log != id {
		o.blameLocked("the log is %s and was %s", id, o.log)
	}
	o.log = id
}

// last returns the highest sequence that somebody was told of.
func (o *told) last() (q event.Sequence) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for known := range o.events {
		q = max(q, known)
	}
	return q
}

// cursorIs notes what the bus says of its subscriber's cursor. What nobody was
// told of yet may be of a type that the subscriber does not ask for.
func (o *told) cursorIs(cursor event.Sequence) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for q := event.Sequence(1); q <= cursor; q++ {
		if f, known := o.events[q]; known && !isBulk(f.id) && !o.delivered[q] {
			o.blameLocked("the cursor is %d, and event %d was not delivered", cursor, q)
			return
		}
	}
}

// holds compares a whole log with what was told: every line of it was saw, in
// order, so that what is left is that nothing is missing, that no id is there
// twice, and that batches are whole.
func (o *told) holds(t *testing.T, lines [][]byte) {
	t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	place := map[string]int{}
	batches := map[string][]int{}
	for i, line := range lines {
		head, _ := event.ReadLine(line)
		id := string(head.ID())
		if before, twice := place[id]; twice {
			t.Errorf("%s is there twice, as event %d and %d", id, before+1, i+1)
		}
		place[id] = i
		if batch, _, ok := strings.Cut(id, "/"); ok {
			batches[batch] = append(batches[batch], i)
		}
	}
	for q, f := range o.events {
		if q > event.Sequence(len(lines)) {
			t.Errorf("%s was told that event %d is %s, and the log ends with %d", f.who, q, f.id, len(lines))
		}
	}
	for batch, at := range batches {
		if len(at) != sizeOfBatch(batch) || !slices.IsSorted(at) || at[len(at)-1]-at[0] != len(at)-1 {
			t.Errorf("the batch %s, of %d events, is in the log as %v", batch, sizeOfBatch(batch), at)
		}
	}
}

// report fails the test with what was wrong so far.
func (o *told) report(t *testing.T) {
	t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, text := range o.wrong {
		t.Error(text)
	}
	if len(o.wrong) > 0 {
		t.FailNow()
	}
}
