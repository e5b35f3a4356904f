package projection

import (
	"context"
	"log/slog"
	"time"

	"miniblog/internal/bus"
	"miniblog/internal/event"
)

// This file is for what does not come by the log: events that are sent by hand, and
// all those of a bus that is simpler than ours, as the course's is. That one keeps an
// array in memory and no log, and pushes each event once.

// ApplyNow applies an event that was pushed or sent by hand. One with a
// sequence comes by fetch as well, and is left to that unless the bus has no
// log. The checkpoint does not move.
func (p *Projection) ApplyNow(e event.Event) error {
	p.write.Lock()
	defer p.write.Unlock()
	if s := p.writes(); e.Sequence > 0 && s != nil && s.log != simpleLog {
		return nil
	}
	e.Sequence = 0
	return p.commit("", func(tx *Tx) (bus.Checkpoint, error) {
		return bus.Checkpoint{}, p.config.Apply(tx, []event.Event{e})
	})
}

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
func (f *follower) stepSimple(ctx context.Context, page *bus.Page) error {
	seen := 0
	for events, err := range page.Events() {
		if err != nil {
			return ofBus(err)
		}
		fresh := events[min(max(f.seen-seen, 0), len(events)):]
		seen += len(events)
		if err := f.p.applySimple(fresh); err != nil {
			return err
		}
	}
	if seen < f.seen { // it was restarted, and all it has is new
		f.seen = 0
		return nil
	}
	f.seen = seen
	if err := f.p.applySimple(nil); err != nil { // the array may be empty
		return err
	}
	if err := f.p.finishAt(bus.Checkpoint{}); err != nil {
		return err
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
	return nil
}

// applySimple applies events of a bus without a log, and marks the data as of none.
func (p *Projection) applySimple(events []event.Event) error {
	p.write.Lock()
	defer p.write.Unlock()
	if s := p.writes(); len(events) == 0 && s != nil && s.log == simpleLog {
		return nil
	}
	return p.commit(simpleLog, func(tx *Tx) (bus.Checkpoint, error) {
		return bus.Checkpoint{}, p.config.Apply(tx, events)
	})
}
