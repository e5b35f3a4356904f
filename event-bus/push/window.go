package push

import (
	"slices"

	"miniblog/internal/event"
)

// How far a dispatcher reads ahead of its cursor: while one subject waits for
// its retry, others go on until this much is outstanding.
const (
	windowEvents = 8192
	windowBytes  = 16 << 20
)

// delivery is an event on its way to a subscriber.
type delivery struct {
	sequence event.Sequence
	id       string
	line     []byte
	lane     *lane
	attempts int  // that count
	unstored int  // how often its reply could not be stored
	suspect  bool // its connection was cut off when it was last tried
	failed   bool // it was sent and not taken, whoever is to blame
	check    bool // it was delivered before, is in no window, and shows only whether the subscriber takes it
	done     bool
	again    *again // it is a dead letter, in no way of the cursor; else nil

	// deliveredBefore is how many events had been delivered when it was first
	// tried since its last attempt that counted, or untried.
	deliveredBefore int
}

const untried = -1

// lane holds the deliveries of one subject, in order. One of them is under way
// at a time: busy, or waiting for its retry.
type lane struct {
	key   string
	queue []*delivery
}

// window holds what was read and is not done, and knows the cursor.
//
//   - outstanding is in order of sequence; what is done is dropped from its
//     front only. Dead letters that are delivered again are in lanes alone.
//   - ready holds each lane that has a delivery and nothing under way, once.
type window struct {
	outstanding []*delivery
	bytes       int
	lanes       map[string]*lane
	ready       []*lane
	read        event.Sequence // everything up to here was read
	suspects    int            // outstanding
}

func newWindow(after event.Sequence) *window {
	return &window{lanes: map[string]*lane{}, read: after}
}

// full tells whether nothing more may be read.
func (w *window) full() bool { return len(w.outstanding) >= windowEvents || w.bytes >= windowBytes }

// cursor returns the sequence up to which everything is done.
func (w *window) cursor() event.Sequence {
	if len(w.outstanding) > 0 {
		return w.outstanding[0].sequence - 1
	}
	return w.read
}

// add puts d at the end of the lane of that key.
func (w *window) add(d *delivery, key string) {
	l := w.lanes[key]
	if l == nil {
		l = &lane{key: key}
		w.lanes[key] = l
		w.ready = append(w.ready, l)
	}
	d.lane = l
	l.queue = append(l.queue, d)
	if d.again == nil {
		w.outstanding = append(w.outstanding, d)
	}
	w.bytes += len(d.line)
}

// take removes the lane that is ready for longest and returns its first
// delivery, nil if no lane is ready.
func (w *window) take() *delivery { return w.takeAt(0) }

// takeUntried is take for the lanes whose first delivery was not tried yet.
func (w *window) takeUntried() *delivery {
	return w.takeAt(slices.IndexFunc(w.ready, func(l *lane) bool { return l.queue[0].deliveredBefore == untried }))
}

func (w *window) takeAt(i int) *delivery {
	if i < 0 || i >= len(w.ready) {
		return nil
	}
	l := w.ready[i]
	if i == 0 {
		w.ready = w.ready[1:]
	} else {
		w.ready = slices.Delete(w.ready, i, i+1)
	}
	return l.queue[0]
}

// release makes the lane of d ready again, behind the others.
func (w *window) release(d *delivery) { w.ready = append(w.ready, d.lane) }

// suspect takes note whether d may be what ends connections.
func (w *window) suspect(d *delivery, is bool) {
	switch {
	case is && !d.suspect:
		w.suspects++
	case !is && d.suspect:
		w.suspects--
	}
	d.suspect = is
}

// finish takes d, the first of its lane, out of the window, and lets the lane
// go on.
func (w *window) finish(d *delivery) {
	d.done = true
	w.suspect(d, false)
	w.bytes -= len(d.line)
	d.line = nil
	l := d.lane
	l.queue = l.queue[1:]
	if len(l.queue) > 0 {
		w.ready = append(w.ready, l)
	} else {
		delete(w.lanes, l.key)
	}
	for len(w.outstanding) > 0 && w.outstanding[0].done {
		w.outstanding = w.outstanding[1:]
	}
}
