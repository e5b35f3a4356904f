// Package feed sends what changes to readers that stay connected, as
// server-sent events.
//
// Its law: whoever publishes never waits for a reader; and a reader gets every
// change in order, or is told to load again.
package feed

import (
	"slices"
	"sync"

	"github.com/go-json-experiment/json"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"miniblog/internal/event"
	"miniblog/internal/trace"
)

// What a feed keeps, for readers that come back.
const (
	maxChanges = 1024
	maxBytes   = 4 << 20 // of their text
)

// change is something that readers should know.
type change struct {
	sequence event.Sequence
	text     []byte      // as it is sent
	span     *trace.Span // ends when the first reader has it
}

// newChange returns a change called name, made by the event at sequence in log:
// zero if it had none. Its id is both, "<sequence>@<log>", or the sequence alone
// where the log is not known. data must encode as JSON.
func newChange(sequence event.Sequence, log, name string, data any) change {
	var text []byte
	if sequence > 0 {
		text = sequence.Append(append(text, "id: "...))
		if log != "" {
			text = append(append(text, '@'), log...)
		}
		text = append(text, '\n')
	}
	value, err := json.Marshal(data)
	if err != nil {
		panic("feed: " + name + " does not encode: " + err.Error())
	}
	text = append(append(append(text, "event: "...), name...), "\ndata: "...)
	return change{sequence: sequence, text: append(append(text, value...), "\n\n"...)}
}

// Changes collects changes until they are published, as many as a feed keeps. The
// zero value is ready for use; it belongs to one goroutine.
type Changes struct {
	changes []pending
	dropped event.Sequence // of the newest change that was too many
}

// pending is a change that is encoded only if it is published: while a service
// catches up, most are not.
type pending struct {
	sequence event.Sequence
	name     string
	data     any
	mark     *trace.Mark // of the event
}

// Add adds a change called name, made by e, which may have no sequence. data must
// encode as JSON.
func (c *Changes) Add(e *event.Event, name string, data any) {
	if len(c.changes) == 2*maxChanges {
		c.trim()
	}
	c.changes = append(c.changes, pending{e.Sequence, name, data, trace.MarkOf(e)})
}

// trim keeps the newest changes.
func (c *Changes) trim() {
	if extra := len(c.changes) - maxChanges; extra > 0 {
		c.dropped = c.changes[extra-1].sequence
		c.changes = slices.Delete(c.changes, 0, extra)
	}
}

// Empty tells whether there is nothing to publish.
func (c *Changes) Empty() bool { return len(c.changes) == 0 }

// Clear forgets all changes.
func (c *Changes) Clear() { c.changes, c.dropped = nil, 0 }

// Feed is the recent past. Readers go through it at their own pace and are
// woken by what is published. All methods may be called concurrently.
//
//   - recent are the changes before number end, oldest first.
//   - floor is the sequence from which on none is missing.
//   - resets counts how often everything became void.
//   - log is the one that the changes are from; "" if it is not known, or there is none.
//   - readers are the connections that wait for changes.
type Feed struct {
	mu      sync.Mutex
	log     string
	recent  []change
	bytes   int
	end     uint64
	floor   event.Sequence
	resets  int
	readers int
	changed chan struct{} // closed at the next change
}

var (
	readersMetric = promauto.NewGauge(prometheus.GaugeOpts{Name: "live_readers",
		Help: "Connections that follow the live stream."})
	bufferMetric = promauto.NewGauge(prometheus.GaugeOpts{Name: "live_buffer_bytes",
		Help: "Memory of the changes that are kept for readers who come back."})
)

// New returns a feed of what comes after floor in log.
func New(log string, floor event.Sequence) *Feed {
	return &Feed{log: log, floor: floor, changed: make(chan struct{})}
}

// Publish adds news, in order, which is from log, wakes the readers and
// clears news. If that dropped some, readers are told to load again.
func (f *Feed) Publish(log string, news *Changes) {
	news.trim()
	changes := make([]change, len(news.changes))
	for i, c := range news.changes {
		changes[i] = newChange(c.sequence, log, c.name, c.data)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.log = log
	if len(changes) == 0 {
		return
	}
	if news.dropped > 0 {
		f.voidLocked(news.dropped)
	}
	for i, c := range changes {
		if f.readers > 0 { // else it is shown to nobody
			c.span = news.changes[i].mark.Show()
		}
		f.recent = append(f.recent, c)
		f.bytes += len(c.text)
		f.end++
		for len(f.recent) > maxChanges || f.bytes > maxBytes {
			f.forgetLocked()
		}
	}
	f.wakeLocked()
	news.Clear()
}

// Reset says that all that was sent is void: the data is from log now, up to floor.
func (f *Feed) Reset(log string, floor event.Sequence) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.log = log
	f.voidLocked(floor)
}

func (f *Feed) voidLocked(floor event.Sequence) {
	f.recent, f.bytes, f.floor = nil, 0, floor
	f.resets++
	f.wakeLocked()
}

func (f *Feed) forgetLocked() {
	oldest := f.recent[0]
	f.recent[0] = change{} // the array outlives it
	f.recent = f.recent[1:]
	f.bytes -= len(oldest.text)
	f.floor = max(f.floor, oldest.sequence)
}

func (f *Feed) wakeLocked() {
	bufferMetric.Set(float64(f.bytes))
	close(f.changed)
	f.changed = make(chan struct{})
}

// firstLocked returns the number of the first change in recent.
func (f *Feed) firstLocked() uint64 { return f.end - uint64(len(f.recent)) }
