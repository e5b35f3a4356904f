// Package feed sends what changes to readers that stay connected, as
// server-sent events.
//
// Its law: whoever publishes never waits for a reader; and a reader gets every
// change in order, or is told to load again.
package feed

import (
	"sync"

	"github.com/go-json-experiment/json"

	"miniblog/internal/event"
)

// What a feed keeps, for readers that come back.
const (
	Size     = 1024    // changes
	maxBytes = 4 << 20 // of their text
)

// Change is something that readers should know.
type Change struct {
	sequence event.Sequence
	text     []byte // as it is sent
}

// NewChange returns a change called name, made by the event at sequence: zero
// if it had none. data must encode as JSON.
func NewChange(sequence event.Sequence, name string, data any) Change {
	var text []byte
	if sequence > 0 {
		text = append(sequence.Append(append(text, "id: "...)), '\n')
	}
	value, err := json.Marshal(data)
	if err != nil {
		panic("feed: " + name + " does not encode: " + err.Error())
	}
	text = append(append(append(text, "event: "...), name...), "\ndata: "...)
	return Change{sequence, append(append(text, value...), "\n\n"...)}
}

// Feed is the recent past. Readers go through it at their own pace and are
// woken by what is published. All methods may be called concurrently.
//
//   - recent are the changes before number end, oldest first.
//   - floor is the sequence from which on none is missing.
//   - resets counts how often everything became void.
type Feed struct {
	mu      sync.Mutex
	recent  []Change
	bytes   int
	end     uint64
	floor   event.Sequence
	resets  int
	changed chan struct{} // closed at the next change
}

// New returns a feed of what comes after floor.
func New(floor event.Sequence) *Feed {
	return &Feed{floor: floor, changed: make(chan struct{})}
}

// Publish adds changes, in order, and wakes the readers.
func (f *Feed) Publish(changes []Change) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range changes {
		f.recent = append(f.recent, c)
		f.bytes += len(c.text)
		f.end++
		for len(f.recent) > Size || f.bytes > maxBytes {
			f.forgetLocked()
		}
	}
	f.wakeLocked()
}

// Skip says that changes up to sequence were not published: readers that were
// waiting for them are told to load again.
func (f *Feed) Skip(sequence event.Sequence) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.voidLocked(sequence)
}

// Reset says that all that was sent is void.
func (f *Feed) Reset() { f.Skip(0) }

func (f *Feed) voidLocked(floor event.Sequence) {
	f.recent, f.bytes, f.floor = nil, 0, floor
	f.resets++
	f.wakeLocked()
}

func (f *Feed) forgetLocked() {
	oldest := f.recent[0]
	f.recent[0].text = nil // the array outlives it
	f.recent = f.recent[1:]
	f.bytes -= len(oldest.text)
	f.floor = max(f.floor, oldest.sequence)
}

func (f *Feed) wakeLocked() {
	close(f.changed)
	f.changed = make(chan struct{})
}

// number returns the number of the first change in recent.
func (f *Feed) firstLocked() uint64 { return f.end - uint64(len(f.recent)) }
