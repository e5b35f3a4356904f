package projection

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"time"

	"miniblog/internal/bus"
	"miniblog/internal/event"
	"miniblog/internal/trace"
)

const (
	txEvents   = 64 << 10         // events after which a transaction ends, while catching up
	fetchWait  = 30 * time.Second // how long the bus may wait for something new
	patience   = time.Second      // what is over sooner is not worth a line of log
	simplePoll = 10 * time.Second // how often a bus that cannot wait is asked
)

// follower is the state of one Run.
type follower struct {
	p       *Projection
	target  *event.Sequence // to reach before being ready; nil before the first answer
	seen    int             // events of a simpler bus's array that were applied
	trouble string          // what was last reported, "" when all is well
	since   time.Time       // when things stopped going well
}

// Run follows the log until ctx ends: it fetches what comes after the
// checkpoint and applies it. What goes wrong is logged once, and tried again
// for as long as it takes.
func (p *Projection) Run(ctx context.Context) error {
	f := follower{p: p}
	pause := bus.Backoff{First: 50 * time.Millisecond, Most: 1500 * time.Millisecond}
	for ctx.Err() == nil {
		fetch, end := context.WithCancel(ctx)
		p.fetching.Store(&end)
		trouble, err := f.step(fetch)
		startOver := fetch.Err() != nil && (err == nil || errors.Is(err, context.Canceled))
		end()
		switch {
		case startOver: // the service stops, or the database was dropped
			p.following.Store(false)
		case err == nil:
			f.recovered()
			pause.Reset()
		default:
			f.report(trouble, err)
			pause.Wait(ctx)
		}
	}
	return ctx.Err()
}

// What can go wrong, as it is logged.
const (
	busTrouble  = "the event bus cannot be followed; trying again until it can"
	diskTrouble = "events cannot be applied; trying again until they can"
)

func (f *follower) report(trouble string, err error) {
	f.p.following.Store(false)
	if f.since.IsZero() {
		f.since = time.Now()
	}
	if f.trouble != trouble && time.Since(f.since) > patience {
		f.trouble = trouble
		slog.Warn(trouble, "after", f.p.Checkpoint().String(), "error", err)
	}
}

func (f *follower) recovered() {
	f.p.following.Store(true)
	f.since = time.Time{}
	if f.trouble != "" {
		f.trouble = ""
		slog.Info("following the event bus again", "after", f.p.Checkpoint().String())
	}
}

// step fetches and applies one page.
func (f *follower) step(ctx context.Context) (trouble string, err error) {
	p := f.p
	if err := f.mend(); err != nil {
		return diskTrouble, err
	}
	var wait time.Duration
	if p.following.Load() {
		wait = fetchWait
	}
	page, err := p.config.Bus.Fetch(ctx, p.Checkpoint(), wait)
	if err != nil {
		return busTrouble, err
	}
	defer page.Close()
	if page.Log == "" {
		return f.stepSimple(ctx, page)
	}
	logEndMetric.Set(float64(page.Last))
	if why := f.unlike(page); why != nil {
		f.target = nil
		return diskTrouble, f.renew(why)
	}
	if f.target == nil {
		f.target = &page.Last
	}
	f.checkReady()
	next, stop := iter.Pull2(page.Events())
	defer stop()
	for more := true; more && err == nil; f.checkReady() {
		more, trouble, err = f.apply(next, page.Log)
	}
	return trouble, err
}

// mend renews the database if a read found damage, or if it is missing.
func (f *follower) mend() error {
	if !f.p.damage.Load() && f.p.origin() != noOrigin {
		return nil
	}
	return f.renew(errors.New("it is damaged"))
}

// unlike returns why the data cannot be from the page's log, or nil.
func (f *follower) unlike(page *bus.Page) error {
	switch known := f.p.origin(); {
	case known != "" && known != page.Log:
		return fmt.Errorf("the event bus has another log than the data is from: %q, not %q", page.Log, known)
	case page.Last < f.p.Checkpoint():
		return fmt.Errorf("the log ends at %d, before the checkpoint %d", page.Last, f.p.Checkpoint())
	}
	return nil
}

func (f *follower) checkReady() {
	if !f.p.ready.Load() && f.p.Checkpoint() >= *f.target {
		slog.Info("caught up with the log", "sequence", f.p.Checkpoint().String())
		f.p.ready.Store(true)
	}
}

// slices returns the next events, as iter.Pull2 has it. It may wait.
type slices func() (events []event.Event, err error, more bool)

// apply applies slices in one transaction until there are no more or enough. If
// a slice cannot be fetched, those before it are committed nevertheless. The
// checkpoint moves in log, except for a bus without one. trouble is what an
// error means.
func (f *follower) apply(next slices, log string) (more bool, trouble string, err error) {
	events, fetchErr, more := next()
	if !more || fetchErr != nil {
		return false, busTrouble, fetchErr
	}
	f.p.write.Lock()
	defer f.p.write.Unlock()
	var traced *trace.Batch
	if f.p.ready.Load() { // history was traced when it was news
		traced = trace.NewBatch()
	}
	err = f.p.commit(log, func(tx *Tx) (to event.Sequence, err error) {
		to = f.p.Checkpoint()
		for applied := 0; more && fetchErr == nil; events, fetchErr, more = next() {
			if log == simpleLog {
				to = 0
			} else if to++; events[0].Sequence != to { // the database was dropped since they were asked for
				return 0, fmt.Errorf("event %d was fetched, but %d comes next", events[0].Sequence, to)
			} else {
				to = events[len(events)-1].Sequence
			}
			if err := f.p.config.Apply(tx, events); err != nil {
				return 0, err
			}
			traced.Add(events)
			if applied += len(events); applied >= txEvents {
				break
			}
		}
		return to, nil
	})
	traced.End(err)
	if err != nil {
		return false, diskTrouble, err
	}
	return more, busTrouble, fetchErr
}

func (f *follower) renew(reason error) error {
	f.p.write.Lock()
	defer f.p.write.Unlock()
	return f.p.renew(reason)
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
	if f.p.origin() != simpleLog { // it has no events at all
		if err := f.markSimple(); err != nil {
			return diskTrouble, err
		}
	}
	if !f.p.ready.Swap(true) {
		slog.Info("the event bus has no log of its own: its events were applied, pushes bring the rest", "events", seen)
	}
	f.recovered()
	select {
	case <-time.After(simplePoll):
	case <-ctx.Done():
	}
	return "", nil
}

func (f *follower) markSimple() error {
	f.p.write.Lock()
	defer f.p.write.Unlock()
	return f.p.commit(simpleLog, func(*Tx) (event.Sequence, error) { return 0, nil })
}
