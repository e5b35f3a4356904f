package push

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"slices"
	"time"

	"miniblog/event-bus/eventlog"
	"miniblog/internal/event"
)

// lanesAtOnce is how many subjects of one subscriber are served side by side.
const lanesAtOnce = 16

const (
	saveEvery    = 200 * time.Millisecond // how far a crash may take the cursor back
	recycleEvery = 30 * time.Second       // idle connections are closed
	stopWithin   = 2 * time.Second        // deliveries under way at a stop
)

// dispatcher delivers the log to one subscriber. Its loop owns all fields;
// others talk to it through commands.
type dispatcher struct {
	config   Config
	sub      Subscriber
	store    store
	client   *http.Client
	logger   *slog.Logger
	commands chan func()
	results  chan result
	retries  chan *delivery

	position  position
	saved     position
	reader    *eventlog.Reader
	unread    eventlog.Batch // read and not yet in the window
	window    *window
	inFlight  int
	through   int // events that got through, for telling whose fault a silence is
	down      bool
	mute      bool // down, but it takes connections
	downtime  int  // probes that failed
	probeAt   time.Time
	lastError string
	replayTo  *event.Sequence // set until what is in flight has come back
	broken    bool            // the log cannot be read
}

// result is an outcome on its way back to the loop. A window that was replaced
// by a replay no longer cares.
type result struct {
	outcome
	delivery *delivery
	window   *window
}

func newDispatcher(config Config, sub Subscriber) (*dispatcher, error) {
	d := &dispatcher{
		config: config, sub: sub,
		store:    store{dir: config.Dir, name: sub.Name},
		client:   newClient(),
		logger:   config.Logger.With("subscriber", sub.Name),
		commands: make(chan func()),
		results:  make(chan result, lanesAtOnce),
		retries:  make(chan *delivery),
	}
	if d.sub.Timeout == 0 {
		d.sub.Timeout = Duration(10 * time.Second)
	}
	p, found, err := d.store.load()
	if err != nil {
		return nil, err
	}
	last := config.Log.Last()
	switch {
	case !found:
		p = position{Log: config.Log.ID()}
		if sub.From == "now" {
			p.Cursor = last
		}
	case p.Log != config.Log.ID():
		d.logger.Warn("the log is another one than before: delivering it from its start")
		p = position{Log: config.Log.ID(), DeadLetters: p.DeadLetters}
	case p.Cursor > last:
		d.logger.Warn("the log ends before the cursor: going on from its end", "cursor", p.Cursor, "last", last)
		p.Cursor = last
	}
	if err := d.store.save(p); err != nil {
		return nil, fmt.Errorf("saving the cursor of subscriber %s: %w", sub.Name, err)
	}
	d.position, d.saved = p, p
	d.startFrom(p.Cursor)
	return d, nil
}

// startFrom reads on after the given sequence and forgets what was read.
func (d *dispatcher) startFrom(after event.Sequence) {
	d.reader = d.config.Log.Reader(after)
	d.unread = eventlog.Batch{}
	d.window = newWindow(after)
}

// run delivers until ctx ends, lets what is under way finish for a moment, and
// saves the cursor. An event that cannot be read is not passed over: delivery
// ends there until somebody has mended the log.
func (d *dispatcher) run(ctx context.Context) {
	attempts, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	save := time.NewTicker(saveEvery)
	defer save.Stop()
	recycle := time.NewTicker(recycleEvery)
	defer recycle.Stop()
	for ctx.Err() == nil {
		if err := d.fill(); err != nil {
			d.broken, d.lastError = true, err.Error()
			d.logger.Error("the log cannot be read: nothing is delivered from here on", "error", err)
		}
		d.send(attempts)
		select {
		case r := <-d.results:
			d.settle(ctx, r)
		case l := <-d.retries:
			d.retry(l)
		case <-d.more():
		case <-d.probeDue():
		case f := <-d.commands:
			f()
		case <-save.C:
			d.save()
		case <-recycle.C:
			d.client.CloseIdleConnections()
		case <-ctx.Done():
		}
	}
	limit := time.AfterFunc(stopWithin, cancel)
	defer limit.Stop()
	for d.inFlight > 0 {
		d.settle(ctx, <-d.results)
	}
	d.save()
	d.client.CloseIdleConnections()
}

// idle tells whether nothing is to be read or sent for now.
func (d *dispatcher) idle() bool {
	return d.broken || d.position.Stopped || d.replayTo != nil
}

// more returns a channel that is closed when there is more to read and room
// for it.
func (d *dispatcher) more() <-chan struct{} {
	if d.idle() || d.window.full() {
		return nil
	}
	return d.config.Log.Beyond(d.window.read)
}

// probeDue returns a channel that tells when a subscriber that is down may be
// tried again.
func (d *dispatcher) probeDue() <-chan time.Time {
	if !d.down || d.inFlight > 0 {
		return nil
	}
	return time.After(time.Until(d.probeAt))
}

// fill reads the log into the window until that is full or the log ends.
func (d *dispatcher) fill() error {
	for !d.idle() && !d.window.full() {
		if d.unread.Count == 0 {
			b, err := d.reader.Next()
			if err != nil {
				return err
			}
			if b.Count == 0 {
				break
			}
			d.unread = b
		}
		if err := d.fillFrom(); err != nil {
			return err
		}
	}
	d.advance()
	return nil
}

// advance moves the cursor to where everything is done.
func (d *dispatcher) advance() {
	if d.replayTo == nil {
		d.position.Cursor = max(d.position.Cursor, d.window.cursor())
	}
}

// fillFrom moves what fits of the unread batch into the window.
func (d *dispatcher) fillFrom() error {
	for line := range d.unread.Lines() {
		if d.window.full() {
			return nil
		}
		head, ok := event.ReadHead(line)
		if !ok {
			return fmt.Errorf("event %d is not in the log's own form", d.unread.First)
		}
		d.window.read = head.Sequence
		if len(d.sub.Types) == 0 || slices.Contains(d.sub.Types, string(head.Type)) {
			key := string(head.Subject)
			if d.sub.Ordered != nil && !*d.sub.Ordered {
				key = head.Sequence.String()
			}
			d.window.add(&delivery{sequence: head.Sequence, id: string(head.ID), line: bytes.Clone(line), through: -1}, key)
		}
		d.unread = eventlog.Batch{First: d.unread.First + 1, Count: d.unread.Count - 1, Text: d.unread.Text[len(line)+1:]}
	}
	return nil
}

// send starts attempts for lanes that are ready. While the subscriber is down
// there is one at a time, the probe. One that takes connections may be silent
// on some events only: what it was not asked about yet is probed first, and at
// once.
func (d *dispatcher) send(ctx context.Context) {
	limit := lanesAtOnce
	if d.idle() {
		return
	}
	if d.down {
		limit = 1
	}
	for d.inFlight < limit {
		var next *delivery
		if d.mute {
			next = d.window.takeUntried()
		}
		if next == nil && (!d.down || time.Until(d.probeAt) <= 0) {
			next = d.window.take()
		}
		if next == nil {
			return
		}
		if next.through < 0 {
			next.through = d.through
		}
		d.inFlight++
		window := d.window
		go func() {
			d.results <- result{attempt(ctx, d.client, d.sub.URL, next, time.Duration(d.sub.Timeout)), next, window}
		}()
	}
}

// settle acts on what an attempt came to.
func (d *dispatcher) settle(ctx context.Context, r result) {
	d.inFlight--
	d.beginReplay()
	current := r.window == d.window
	if ctx.Err() != nil && r.verdict != delivered {
		return // cut off by the stop, or not worth starting a wait for
	}
	d.count(r.verdict)
	if r.verdict != delivered {
		d.lastError = fmt.Sprintf("event %d: %s", r.delivery.sequence, describe(r.outcome))
	}
	switch {
	case r.verdict == unreachable, r.verdict == silent && d.through == r.delivery.through:
		d.goDown(r)
		if r.verdict == unreachable {
			r.delivery.through = -1 // it never got there
		}
		if current {
			d.window.release(r.delivery)
		}
		return
	case r.status != 0:
		d.goUp()
	}
	if !current {
		return
	}
	switch r.verdict {
	case delivered:
		d.through++
		d.window.finish(r.delivery)
	case gone:
		d.logger.Warn("the subscriber answered 410: it gets nothing more until a replay is asked for", "sequence", r.delivery.sequence)
		d.position.Stopped = true
		d.window.release(r.delivery)
		d.save()
	case rejected:
		r.delivery.attempts++
		d.giveUp(ctx, r)
	default:
		r.delivery.attempts++
		r.delivery.through = d.through
		if r.delivery.attempts >= d.config.Attempts {
			d.giveUp(ctx, r)
			return
		}
		wait := max(d.backoff(r.delivery.attempts-1), r.retryAfter)
		d.logger.Debug("an event was not taken and is tried again", "sequence", r.delivery.sequence, "event", r.delivery.id, "attempt", r.delivery.attempts, "answer", describe(r.outcome), "wait", wait)
		d.retryLater(ctx, r.delivery, wait)
	}
	d.advance()
}

// beginReplay starts from where a replay was asked for, once nothing is under
// way that could overtake it.
func (d *dispatcher) beginReplay() {
	if d.replayTo != nil && d.inFlight == 0 {
		d.startFrom(*d.replayTo)
		d.replayTo = nil
	}
}

func describe(o outcome) string {
	if o.status == 0 {
		return o.answer
	}
	return fmt.Sprintf("%d %s", o.status, o.answer)
}

// retryLater makes the delivery's lane wait; others go on.
func (d *dispatcher) retryLater(ctx context.Context, del *delivery, wait time.Duration) {
	time.AfterFunc(wait, func() {
		select {
		case d.retries <- del:
		case <-ctx.Done():
		}
	})
}

// retry lets a lane go on after its wait, unless a replay has begun meanwhile.
func (d *dispatcher) retry(del *delivery) {
	if d.window.lanes[del.lane.key] == del.lane {
		d.window.release(del)
	}
}

// giveUp makes a dead letter of a delivery and lets its subject go on. While
// the dead letter cannot be written the event is not passed over.
func (d *dispatcher) giveUp(ctx context.Context, r result) {
	letter := DeadLetter{
		Sequence: r.delivery.sequence, ID: r.delivery.id, Time: time.Now().UTC(),
		Attempts: r.delivery.attempts, Status: r.status, Answer: r.answer, Event: r.delivery.line,
	}
	if err := d.store.bury(letter); err != nil {
		d.logger.Error("a dead letter could not be written; its event waits", "sequence", letter.Sequence, "error", err)
		d.retryLater(ctx, r.delivery, d.config.MostBackoff)
		return
	}
	d.position.DeadLetters++
	d.logger.Error("an event was given up: dead letter", "sequence", letter.Sequence, "event", letter.ID, "attempts", letter.Attempts, "answer", describe(r.outcome))
	d.window.finish(r.delivery)
	d.save()
}

// goDown pauses all lanes; the next attempt is a probe.
func (d *dispatcher) goDown(r result) {
	if !d.down {
		d.down, d.downtime = true, 0
		d.logger.Warn("the subscriber is down: its events wait", "error", describe(r.outcome))
	} else if d.inFlight > 0 {
		return // sent before it went down: not a probe
	} else {
		d.downtime++
	}
	d.mute = r.verdict == silent
	d.probeAt = time.Now().Add(d.backoff(d.downtime))
}

func (d *dispatcher) goUp() {
	if d.down {
		d.down, d.mute = false, false
		d.logger.Info("the subscriber is back")
	}
}

// backoff returns the wait after n earlier failures: exponential, with jitter
// over its upper half.
func (d *dispatcher) backoff(n int) time.Duration {
	wait := d.config.MostBackoff
	if n < 20 {
		wait = min(wait, d.config.FirstBackoff<<n)
	}
	return wait/2 + rand.N(wait/2+1)
}

// save makes the position durable if it has changed.
func (d *dispatcher) save() {
	if d.position == d.saved {
		return
	}
	if err := d.store.save(d.position); err != nil {
		d.logger.Error("the cursor could not be saved; after a restart its events are delivered again", "error", err)
		return
	}
	d.saved = d.position
}
