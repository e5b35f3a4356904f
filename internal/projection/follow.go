package projection

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"sync"
	"time"

	"miniblog/internal/bus"
	"miniblog/internal/event"
	"miniblog/internal/trace"
)

const (
	txEvents  = 64 << 10              // events after which a transaction ends, while catching up
	fetchWait = 30 * time.Second      // how long the bus may wait for something new
	patience  = time.Second           // what is over sooner is not worth a line of log
	saveEvery = 10 * time.Second      // a checkpoint that only passes events is saved so often
	endPause  = 50 * time.Millisecond // before a bus that ended a stream is asked again
)

// follower is the state of one Run.
type follower struct {
	p         *Projection
	target    *event.Sequence // to reach before being ready; nil before the first answer
	fetchOnly bool            // this bus cannot be followed
	seen      int             // events of a simple bus's array that were applied (simple.go)
	trouble   string          // what was last reported, "" when all is well
	since     time.Time       // when things stopped going well
}

// Run follows the log until ctx ends: it fetches what comes after the checkpoint,
// applies it, and then applies what the bus sends as it comes. A bus that cannot be
// followed is fetched from again and again. What goes wrong is logged once, and tried
// again for as long as it takes.
//
// Where the configuration says so, an empty database begins with a snapshot of
// another copy, and this copy gives snapshots.
func (p *Projection) Run(ctx context.Context) error {
	if p.config.Snapshots.Addr != "" {
		var serving sync.WaitGroup
		defer serving.Wait()
		var cancel context.CancelCauseFunc
		ctx, cancel = context.WithCancelCause(ctx)
		defer cancel(nil)
		serving.Go(func() {
			if err := p.serveSnapshots(ctx); err != nil {
				cancel(err)
			}
		})
	}
	p.join(ctx)
	f := follower{p: p}
	pause := bus.Backoff{First: 50 * time.Millisecond, Most: 1500 * time.Millisecond}
	for ctx.Err() == nil {
		fetch, end := context.WithCancel(ctx)
		p.fetching.Store(&end)
		err := f.step(fetch)
		startOver := fetch.Err() != nil && (err == nil || errors.Is(err, context.Canceled))
		end()
		switch {
		case startOver: // the service stops, or the database was dropped
			p.setFollowing(false)
		case err == nil:
			f.recovered()
			pause.Reset()
		default:
			f.fetchOnly = false // it may be another bus that comes back
			f.report(err)
			pause.Wait(ctx)
		}
	}
	if err := p.save(); err != nil {
		slog.Warn("the checkpoint could not be saved; some events will be fetched again", "error", err)
	}
	return context.Cause(ctx)
}

// step brings the projection to the end of the log and follows it from there.
func (f *follower) step(ctx context.Context) error {
	if err := f.mend(); err != nil {
		return err
	}
	end, err := f.fetch(ctx)
	if err != nil || !end || f.fetchOnly {
		return err
	}
	f.recovered()
	return f.follow(ctx)
}

// mend builds the database again if a read found damage, or if it is missing.
func (f *follower) mend() error {
	switch log, _ := f.p.position(); {
	case f.p.damage.Load():
		return f.rebuild(errors.New("it is damaged"), false)
	case log == noOrigin:
		return f.rebuild(errors.New("it could not be built before"), true)
	}
	return nil
}

// fetch fetches and applies one page. end tells whether it reached the end of the
// log, as that was then.
func (f *follower) fetch(ctx context.Context) (end bool, err error) {
	var wait time.Duration
	if f.fetchOnly && f.p.following.Load() {
		wait = fetchWait
	}
	_, from := f.p.position()
	page, err := f.p.config.Bus.Fetch(ctx, from, wait)
	if err != nil {
		return false, f.refused(err)
	}
	defer page.Close()
	if page.Log == "" {
		return false, f.stepSimple(ctx, page)
	}
	if fits, err := f.fits(page.Log, page.Last); !fits {
		return false, err
	}
	if err := f.prepare(page.Last); err != nil {
		return false, err
	}
	next, stop := iter.Pull2(page.Events())
	defer stop()
	for more := true; more; {
		if more, err = f.apply(next, page.Log); err != nil {
			return false, err
		}
		if err := f.checkReady(); err != nil {
			return false, err
		}
	}
	_, at := f.p.position()
	return at.Sequence >= page.Last, nil
}

// prepare has an empty database built beside, if there is much to apply.
func (f *follower) prepare(last event.Sequence) error {
	f.p.write.Lock()
	defer f.p.write.Unlock()
	if s := f.p.writes(); s == f.p.next || s.log != "" || last < manyEvents {
		return nil
	}
	return f.p.begin()
}

// follow applies what the bus sends, until it has to be fetched again.
func (f *follower) follow(ctx context.Context) error {
	_, from := f.p.position()
	stream, err := f.p.config.Bus.Follow(ctx, from, f.p.config.Types)
	if errors.Is(err, bus.ErrNoFollow) {
		f.fetchOnly = true
		f.p.heard.Store(unasked)
		return nil
	}
	if err != nil {
		return f.refused(err)
	}
	defer stream.Close()
	if fits, err := f.fits(stream.Log, stream.Last); !fits {
		return err
	}
	for saved := time.Now(); ; {
		events, to, err := stream.Next()
		if err == io.EOF { // it stops, or we are behind
			select {
			case <-time.After(endPause):
			case <-ctx.Done():
			}
			return nil
		}
		if err != nil {
			return ofBus(err)
		}
		if err := f.applyFollowed(stream.Log, from, events, to); err != nil {
			return err
		}
		f.p.hear(len(events) == 0)
		from = to
		if time.Since(saved) > saveEvery {
			saved = time.Now()
			if err := f.p.save(); err != nil {
				return err
			}
		}
	}
}

// refused deals with an error of the bus. Where that holds another history, the
// database is built again.
func (f *follower) refused(err error) error {
	if errors.Is(err, bus.ErrOtherHistory) {
		return f.rebuild(err, true)
	}
	return ofBus(err)
}

// fits tells whether the data can be from a log that ends at last. If not, it is
// built again.
func (f *follower) fits(log string, last event.Sequence) (bool, error) {
	var why error
	switch known, at := f.p.position(); {
	case known != "" && known != log:
		why = fmt.Errorf("the event bus has another log than the data is from: %q, not %q", log, known)
	case last < at.Sequence:
		why = fmt.Errorf("the log ends at %d, before the checkpoint %d", last, at.Sequence)
	default:
		logEndMetric.Set(float64(last))
		if f.target == nil {
			f.target = &last
		}
		return true, nil
	}
	return false, f.rebuild(why, true)
}

// checkReady tells the projection when it has caught up with the log, as that was
// when this data was begun.
func (f *follower) checkReady() error {
	_, at := f.p.position()
	if at.Sequence < *f.target {
		return nil
	}
	if err := f.p.finishAt(at); err != nil {
		return err
	}
	if !f.p.ready.Swap(true) {
		slog.Info("caught up with the log", "sequence", at.Sequence.String())
	}
	return nil
}

// nextSlice returns the next events, as iter.Pull2 has it. It may wait.
type nextSlice func() (events []event.Event, err error, more bool)

// apply applies slices of log in one transaction until there are no more or enough.
// If a slice cannot be fetched, those before it are committed nevertheless.
func (f *follower) apply(next nextSlice, log string) (more bool, err error) {
	events, fetchErr, more := next()
	if !more || fetchErr != nil {
		return false, ofBus(fetchErr)
	}
	p := f.p
	p.write.Lock()
	defer p.write.Unlock()
	s := p.writes()
	if s == nil {
		return false, errNoStore
	}
	to := s.applied
	pass := func() error {
		if first := events[0].Sequence; first != to.Sequence+1 { // the database was dropped since they were asked for
			return fmt.Errorf("event %d was fetched, but %d comes next", first, to.Sequence+1)
		}
		last := &events[len(events)-1]
		to = bus.Checkpoint{Sequence: last.Sequence, ID: last.ID}
		return nil
	}
	for more && fetchErr == nil && !p.concerned(events) {
		if err := pass(); err != nil {
			return false, err
		}
		events, fetchErr, more = next()
	}
	if !more || fetchErr != nil {
		p.pass(log, to)
		return more, ofBus(fetchErr)
	}
	var traced *trace.Batch
	if p.ready.Load() { // history was traced when it was news
		traced = trace.NewBatch()
	}
	err = p.commit(log, func(tx *Tx) (bus.Checkpoint, error) {
		for applied := 0; more && fetchErr == nil; events, fetchErr, more = next() {
			if err := pass(); err != nil {
				return to, err
			}
			if err := p.config.Apply(tx, events); err != nil {
				return to, err
			}
			traced.Add(events, p.config.Types)
			if applied += len(events); applied >= txEvents {
				break
			}
		}
		return to, nil
	})
	traced.End(err)
	if err != nil {
		return false, err
	}
	return more, ofBus(fetchErr)
}

// applyFollowed applies events that came after from, and moves to where the bus
// says that this is.
func (f *follower) applyFollowed(log string, from bus.Checkpoint, events []event.Event, to bus.Checkpoint) error {
	p := f.p
	p.write.Lock()
	defer p.write.Unlock()
	s := p.writes()
	if s == nil {
		return errNoStore
	}
	if s.applied != from { // the database was dropped since they were asked for
		return fmt.Errorf("events after %d came, but the data is at %d", from.Sequence, s.applied.Sequence)
	}
	logEndMetric.Set(float64(to.Sequence))
	if !p.concerned(events) {
		if to != from {
			p.pass(log, to)
		}
		return nil
	}
	traced := trace.NewBatch()
	traced.Add(events, p.config.Types)
	err := p.commit(log, func(tx *Tx) (bus.Checkpoint, error) { return to, p.config.Apply(tx, events) })
	traced.End(err)
	return err
}

// rebuild begins to build the database again, up to what the next answer says.
func (f *follower) rebuild(reason error, readable bool) error {
	f.target = nil
	f.p.write.Lock()
	defer f.p.write.Unlock()
	return f.p.rebuild(reason, readable)
}
