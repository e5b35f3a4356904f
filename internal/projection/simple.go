package projection

import (
	"context"
	"iter"
	"log/slog"
	"time"

	"miniblog/internal/bus"
	"miniblog/internal/event"
)

// This file is for a bus that is simpler than ours, as the course's is: it keeps
// an array in memory and no log, and pushes each event once.

// simpleLog stands for the log of a bus that has none. No real log has this id.
const simpleLog = "-"

// named returns the id of a log, "" if there is none.
func named(log string) string {
	if log == simpleLog {
		return ""
	}
	return log
}

// simplePoll is how often such a bus, which cannot wait, is asked.
const simplePoll = 10 * time.Second

// simple tells whether the data is from a bus without a log.
func (p *Projection) simple() bool {
	log, _ := p.position()
	return log == simpleLog
}

// stepSimple applies what is new in the array of a bus without a log, and then
// waits: pushes bring the rest, and asking again notices a bus that was
// restarted or replaced. Data that is from a log stays, marked as of none, so
// that the next log replaces it.
func (f *follower) stepSimple(ctx context.Context, page *bus.Page) (trouble string, err error) {
	next, stop := iter.Pull2(page.Events())
	defer stop()
	seen := 0
	for more := true; more && err == nil; {
		more, trouble, err = f.apply(func() (events []event.Event, err error, more bool) {
			events, err, more = next()
			known := min(max(f.seen-seen, 0), len(events))
			seen += len(events)
			return events[known:], err, more
		}, simpleLog)
	}
	if err != nil {
		return trouble, err
	}
	if seen < f.seen { // it was restarted, and all it has is new
		f.seen = 0
		return "", nil
	}
	f.seen = seen
	if !f.p.simple() { // it has no events at all
		if err := f.markSimple(); err != nil {
			return diskTrouble, err
		}
	}
	if err := f.p.finishAt(bus.Checkpoint{}); err != nil {
		return diskTrouble, err
	}
	if !f.p.ready.Swap(true) {
		slog.Info("the event bus has no log of its own: its events were applied, pushes bring the rest", "events", seen)
	}
	f.recovered()
	f.p.heard.Store(unasked)
	select {
	case <-time.After(simplePoll):
	case <-ctx.Done():
	}
	return "", nil
}

func (f *follower) markSimple() error {
	f.p.write.Lock()
	defer f.p.write.Unlock()
	return f.p.commit(simpleLog, func(*Tx) (bus.Checkpoint, error) { return bus.Checkpoint{}, nil })
}
