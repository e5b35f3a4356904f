// Package activity remembers what the bus did lately and tells it to whoever
// looks: events that were stored, deliveries, followers, subscribers whose
// state changed.
//
// Its law: the bus never waits for it. What it remembers is bounded, whatever
// happens and whoever looks; a reader that is too slow misses facts and is told
// how many.
package activity

import (
	"net/http"
	"strconv"
	"sync"
	"time"

	"miniblog/event-bus/eventlog"
	"miniblog/internal/event"
)

// Remembered is how many facts are kept, the newest ones.
const Remembered = 10_000

// Recorder takes facts in. A nil one ignores them; all methods may be called
// from any goroutine, and none of those that record blocks.
//
//   - ring holds the facts from number end-Remembered, or 0, to end-1, the one
//     with number n at n % Remembered.
//   - a fact never changes; only its text is added, when somebody first looks.
//   - rendering is held while facts become text, so that many readers share the
//     work; it is never taken by what records.
type Recorder struct {
	log  *eventlog.Log
	dir  string // of the log
	boot string // tells the numbers of this run from those of another

	rendering sync.Mutex

	mu        sync.Mutex
	ring      []remembered
	end       uint64
	followers map[Client]*following
}

type remembered struct {
	fact fact
	text []byte // as it is sent; nil until somebody looks
}

// fact is something that happened. appendTo appends it as server-sent events
// without an id.
type fact interface {
	appendTo(b []byte, lines *lines) []byte
}

// New returns a recorder for the log that is kept in dir.
func New(log *eventlog.Log, dir string) *Recorder {
	return &Recorder{
		log: log, dir: dir, boot: strconv.FormatInt(time.Now().UnixMilli(), 36),
		ring: make([]remembered, Remembered), followers: map[Client]*following{},
	}
}

// Stored says that events are on disk as of now, which a request published that
// arrived at a time. Those that were there before are left out; the others lie in
// one piece.
func (r *Recorder) Stored(positions []eventlog.Position, arrived time.Time, by *http.Request) {
	if r != nil {
		r.stored(positions, stored{arrived: arrived, agent: by.UserAgent(), address: by.RemoteAddr})
	}
}

// Replied is Stored for events that a subscriber answered with.
func (r *Recorder) Replied(positions []eventlog.Position, arrived time.Time) {
	if r != nil {
		r.stored(positions, stored{arrived: arrived, reply: true})
	}
}

func (r *Recorder) stored(positions []eventlog.Position, s stored) {
	for _, p := range positions {
		if p.Duplicate {
			continue
		}
		if s.count == 0 {
			s.first = p.Sequence
		}
		s.count++
	}
	if s.count > 0 {
		s.onDisk = time.Now()
		r.record(&s)
	}
}

// Delivery is one attempt to push an event.
type Delivery struct {
	Subscriber string
	Sequence   event.Sequence
	Attempt    int    // from 1
	Outcome    string // one word, such as delivered or refused
	Status     int    // of the answer, 0 without one
	Answer     string // its beginning, or why there was none
	Began      time.Time
	Took       time.Duration
	Reply      event.Sequence // the event in the answer, once it is stored; 0 if there was none
}

// Delivered says what came of an attempt to push an event.
func (r *Recorder) Delivered(d Delivery) {
	if r == nil {
		return
	}
	if d.Outcome == "delivered" {
		d.Answer = "" // says nothing, and would be kept
	}
	r.record(&d)
}

// StateChanged says that a subscriber's state is another now, and why.
func (r *Recorder) StateChanged(subscriber, state, why string) {
	if r == nil {
		return
	}
	r.record(&changed{subscriber, state, why, time.Now()})
}

func (r *Recorder) record(f fact) {
	r.mu.Lock()
	r.recordLocked(f)
	r.mu.Unlock()
}

func (r *Recorder) recordLocked(f fact) {
	r.ring[r.end%Remembered] = remembered{fact: f}
	r.end++
}

// firstLocked returns the number of the oldest fact that is remembered.
func (r *Recorder) firstLocked() uint64 {
	if r.end < Remembered {
		return 0
	}
	return r.end - Remembered
}
