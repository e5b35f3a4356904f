package push

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"miniblog/internal/event"
)

// lanesAtOnce is how many subjects of one subscriber are served side by side.
const lanesAtOnce = 16

const (
	saveEvery    = 200 * time.Millisecond // how far a crash may take the cursor back, of a process that is alone
	recycleEvery = 30 * time.Second       // idle connections are closed
	drainGrace   = 2 * time.Second        // for deliveries under way at a stop
)

// dispatcher delivers the log to one subscriber. Its loop owns all fields;
// others talk to it through commands.
type dispatcher struct {
	config   Config
	sub      Subscriber
	tenure   *Tenure
	store    Store // the tenure's
	endpoint *endpoint
	logger   *slog.Logger
	backoff  backoff

	attemptSeconds prometheus.Observer
	windowSize     prometheus.Gauge

	commands chan func()
	attempts chan *delivery
	results  chan result
	retries  chan *delivery
	over     chan struct{} // closed when run has returned

	lookahead
	state          state
	position       Position
	saved          Position // as it is on disk
	letters        letters
	asked          []*redelivery                // that are not done
	again          map[event.Sequence]*delivery // dead letters in the window
	tries          tries
	inFlight       int
	deliveredCount int     // since the start; it tells a bad event from a subscriber that is down
	taken          []taken // lately, oldest first; one a subject
	lastError      string
	toldState      string // to the activity
}

func newDispatcher(config Config, sub Subscriber, tenure *Tenure) (*dispatcher, error) {
	if sub.Timeout == 0 {
		sub.Timeout = Duration(10 * time.Second)
	}
	d := &dispatcher{
		config: config, sub: sub,
		tenure: tenure, store: tenure.Store,
		attemptSeconds: attemptSeconds.WithLabelValues(sub.Name), windowSize: windowSize.WithLabelValues(sub.Name),
		logger:   config.Logger.With("subscriber", sub.Name),
		backoff:  backoff{config.FirstBackoff, config.MostBackoff},
		commands: make(chan func()),
		attempts: make(chan *delivery, lanesAtOnce), // and so neither side waits for the other
		results:  make(chan result, lanesAtOnce),
		retries:  make(chan *delivery),
		over:     make(chan struct{}),
		again:    map[event.Sequence]*delivery{},
	}
	var err error
	if d.endpoint, err = newEndpoint(sub, config.Publish); err != nil {
		return nil, fmt.Errorf("subscriber %s: %w", sub.Name, err)
	}
	if err := d.loadPosition(); err != nil {
		return nil, err
	}
	d.lookahead.log, d.lookahead.sub = config.Log, &d.sub
	d.startFrom(d.position.Cursor)
	return d, nil
}

// loadPosition goes on where the subscriber was, and makes that durable.
func (d *dispatcher) loadPosition() error {
	p, found, err := d.store.Load(d.letters.add)
	if err != nil {
		return err
	}
	last := d.config.Log.Last()
	switch {
	case !found:
		p = Position{Log: d.config.Log.ID()}
		if d.sub.From == "now" {
			p.Cursor = last
		}
	case p.Log != d.config.Log.ID():
		d.logger.Warn("the log is another one than before: delivering it from its start")
		if err := d.store.PutAside(p.Log); err != nil {
			return fmt.Errorf("putting the dead letters of another log aside: %w", err)
		}
		d.letters = letters{}
		p = Position{Log: d.config.Log.ID()}
	case p.Cursor > last:
		d.logger.Warn("the log ends before the cursor: going on from its end", "cursor", p.Cursor, "last", last)
		p.Cursor = last
	}
	if p.LastDelivered > last {
		p.LastDelivered = 0
	}
	if err := d.store.Save(p); err != nil {
		return fmt.Errorf("saving the cursor of subscriber %s: %w", d.sub.Name, err)
	}
	d.position, d.saved = p, p
	if p.Stopped {
		d.state.askedToStop()
	}
	return nil
}

// run delivers until ctx ends, lets what is under way finish for a moment, and
// saves the cursor. When the tenure is over it ends at once.
func (d *dispatcher) run(ctx context.Context) {
	defer close(d.over)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(d.tenure.Over, cancel)()
	attempts, cancelAttempts := context.WithCancel(d.tenure.Over)
	defer cancelAttempts()
	for range lanesAtOnce {
		go d.attemptAll(attempts)
	}
	defer close(d.attempts)
	save := time.NewTicker(d.tenure.SaveEvery)
	defer save.Stop()
	recycle := time.NewTicker(recycleEvery)
	defer recycle.Stop()
	for ctx.Err() == nil {
		d.read()
		d.send()
		d.tellState()
		select {
		case r := <-d.results:
			d.handle(ctx, r)
		case l := <-d.retries:
			d.retry(l)
		case <-d.moreToRead():
		case <-d.probeDue():
		case f := <-d.commands:
			f()
		case <-save.C:
			d.save()
			d.windowSize.Set(float64(d.window.bytes))
		case <-recycle.C:
			d.endpoint.transport.CloseIdleConnections()
		case <-ctx.Done():
		}
	}
	limit := time.AfterFunc(drainGrace, cancelAttempts)
	defer limit.Stop()
	for d.inFlight > 0 {
		d.handle(ctx, <-d.results)
	}
	if d.tenure.Holds() {
		d.save()
	}
	d.endpoint.transport.CloseIdleConnections()
}

// tellState says that the subscriber's state is another than was told last.
func (d *dispatcher) tellState() {
	name, why := d.state.name(), ""
	if name == d.toldState {
		return
	}
	if name != "up" {
		why = d.lastError
	}
	d.toldState = name
	d.config.Activity.StateChanged(d.sub.Name, name, why)
}

// reads tells whether more of the log is wanted.
func (d *dispatcher) reads() bool { return d.state.sends() && d.wants() }

// moreToRead returns a channel that is closed when there is more to read and
// room for it.
func (d *dispatcher) moreToRead() <-chan struct{} {
	if !d.reads() {
		return nil
	}
	return d.more()
}

// read reads on in the log, and in the dead letters that are delivered again.
func (d *dispatcher) read() {
	if d.reads() {
		if err := d.fill(); err != nil {
			d.lastError = err.Error()
			d.logger.Error("the log cannot be read: nothing is delivered from there on", "error", err)
		}
	}
	if len(d.asked) > 0 && d.state.sends() {
		d.readAgain()
	}
	d.advance()
}

// advance moves the cursor to where everything is done.
func (d *dispatcher) advance() {
	if d.state.mode != modeReplaying {
		d.position.Cursor = max(d.position.Cursor, d.window.cursor())
	}
}

// probeDue returns a channel that tells when the next probe may be sent.
func (d *dispatcher) probeDue() <-chan time.Time {
	if !d.state.probing() || d.inFlight > 0 || !d.hasProbe() {
		return nil
	}
	return time.After(time.Until(d.state.probeAt))
}

// send starts attempts for lanes that are ready.
//
// There is one at a time while there are suspects: an event that kills its
// subscriber must not have killed others with it at each of its attempts.
func (d *dispatcher) send() {
	if !d.state.sends() {
		return
	}
	limit := lanesAtOnce
	if d.state.probing() || d.window.suspects > 0 {
		limit = 1
	}
	for d.inFlight < limit {
		next := d.next()
		if next == nil {
			return
		}
		if next.deliveredBefore == untried {
			next.deliveredBefore = d.deliveredCount
		}
		d.inFlight++
		d.attempts <- next
	}
}

// next returns the delivery whose turn it is, nil if there is none. A
// subscriber that is silent may be so on some events only: what it was not asked
// about yet need not wait.
func (d *dispatcher) next() *delivery {
	switch d.state.mode {
	case modeUp:
		return d.window.take()
	case modeSilent:
		if next := d.window.takeUntried(); next != nil {
			return next
		}
	}
	if !d.state.probeIsDue() {
		return nil
	}
	return d.probe()
}

// probe returns what tells most about the subscriber: an event that was not
// tried yet, else one that it took before, else the one that waits longest.
func (d *dispatcher) probe() *delivery {
	if d.state.mode != modeChecking {
		if next := d.window.takeUntried(); next != nil {
			return next
		}
	}
	if len(d.window.lanes) > 0 {
		if again := d.lastDelivered(); again != nil {
			return again
		}
	}
	return d.window.take()
}

// hasProbe tells whether probe would return something.
func (d *dispatcher) hasProbe() bool {
	return len(d.window.ready) > 0 || d.position.LastDelivered != 0 && len(d.window.lanes) > 0
}

// attemptAll makes one attempt after the other until there are no more. It
// stays, as net/http needs a deep stack, and a new goroutine would grow its own
// anew each time: a tenth of the work of a delivery.
func (d *dispatcher) attemptAll(ctx context.Context) {
	for next := range d.attempts {
		if !d.tenure.Holds() {
			<-ctx.Done() // which is about to end
			d.results <- result{outcome: outcome{verdict: unreachable}, delivery: next}
			continue
		}
		began := time.Now()
		d.results <- result{d.endpoint.deliver(ctx, next), next, began, time.Since(began)}
	}
}

// replay delivers again from after the given sequence; if that cannot be made
// durable nothing changes.
func (d *dispatcher) replay(after event.Sequence) error {
	if after > d.position.Cursor {
		return ErrAhead
	}
	p := d.position
	p.Cursor, p.Stopped = after, false
	if err := d.store.Save(p); err != nil {
		return fmt.Errorf("saving the cursor of subscriber %s: %w", d.sub.Name, err)
	}
	d.position, d.saved = p, p
	d.state.replay(after)
	d.beginReplay()
	d.logger.Info("delivering again", "after", after)
	return nil
}

// beginReplay starts from where a replay was asked for, once nothing is under
// way that could overtake it.
func (d *dispatcher) beginReplay() {
	if d.inFlight == 0 {
		d.startFrom(d.state.replayAfter)
		d.refill()
		d.state.drained()
	}
}

// save makes the position durable if it has changed.
func (d *dispatcher) save() {
	if d.position == d.saved {
		return
	}
	if err := d.store.Save(d.position); err != nil {
		if !d.tenure.Holds() {
			return // another process keeps its own
		}
		d.logger.Error("the cursor could not be saved; after a restart its events are delivered again", "error", err)
		return
	}
	d.saved = d.position
}
