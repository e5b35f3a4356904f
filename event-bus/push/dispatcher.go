package push

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
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
	store    *store
	endpoint *endpoint
	logger   *slog.Logger
	commands chan func()
	attempts chan attempt
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

func newDispatcher(config Config, sub Subscriber) (*dispatcher, error) {
	d := &dispatcher{
		config: config, sub: sub,
		store:    newStore(config.Dir, sub.Name),
		logger:   config.Logger.With("subscriber", sub.Name),
		commands: make(chan func()),
		attempts: make(chan attempt, lanesAtOnce), // and so neither side waits for the other
		results:  make(chan result, lanesAtOnce),
		retries:  make(chan *delivery),
	}
	if d.sub.Timeout == 0 {
		d.sub.Timeout = Duration(10 * time.Second)
	}
	var err error
	if d.endpoint, err = newEndpoint(sub.URL, time.Duration(d.sub.Timeout)); err != nil {
		return nil, fmt.Errorf("subscriber %s: %w", sub.Name, err)
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
	for range lanesAtOnce {
		go d.carry(attempts)
	}
	defer close(d.attempts)
	save := time.NewTicker(saveEvery)
	defer save.Stop()
	recycle := time.NewTicker(recycleEvery)
	defer recycle.Stop()
	for ctx.Err() == nil {
		if err := d.fill(); err != nil {
			d.broken, d.lastError = true, err.Error()
			d.logger.Error("the log cannot be read: nothing is delivered from there on", "error", err)
		}
		d.advance()
		d.send()
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
			d.endpoint.transport.CloseIdleConnections()
		case <-ctx.Done():
		}
	}
	limit := time.AfterFunc(stopWithin, cancel)
	defer limit.Stop()
	for d.inFlight > 0 {
		d.settle(ctx, <-d.results)
	}
	d.save()
	d.endpoint.transport.CloseIdleConnections()
}

// paused tells whether nothing is to be sent for now.
func (d *dispatcher) paused() bool { return d.position.Stopped || d.replayTo != nil }

// reads tells whether more of the log is wanted.
func (d *dispatcher) reads() bool { return !d.paused() && !d.broken && !d.window.full() }

// more returns a channel that is closed when there is more to read and room
// for it.
func (d *dispatcher) more() <-chan struct{} {
	if !d.reads() {
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

// fill reads what is stored together into the window, and no more, so that a
// long way to the next event for this subscriber holds up nothing else.
func (d *dispatcher) fill() error {
	if !d.reads() {
		return nil
	}
	if d.unread.Count == 0 {
		b, err := d.reader.Next()
		if err != nil {
			return err
		}
		d.unread = b
	}
	return d.fillFrom()
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

// send starts attempts for lanes that are ready.
//
// While the subscriber is down there is one at a time, the probe. One that
// takes connections may be silent on some events only: what it was not asked
// about yet is probed first, and at once.
//
// There is also one at a time while there are suspects: an event that kills its
// subscriber must not have killed others with it at each of its attempts.
func (d *dispatcher) send() {
	if d.paused() {
		return
	}
	limit := lanesAtOnce
	if d.down || d.window.suspects > 0 {
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
		d.attempts <- attempt{next, d.window}
	}
}

// carry makes one attempt after the other until there are no more. It stays, as
// net/http needs a deep stack, and a new goroutine would grow its own anew each
// time: a tenth of the work of a delivery.
func (d *dispatcher) carry(ctx context.Context) {
	for a := range d.attempts {
		d.results <- result{d.endpoint.deliver(ctx, a.delivery), a}
	}
}

// replay delivers again from after the given sequence; if that cannot be made
// durable nothing changes.
func (d *dispatcher) replay(after event.Sequence) error {
	p := d.position
	p.Cursor, p.Stopped = after, false
	if err := d.store.save(p); err != nil {
		return fmt.Errorf("saving the cursor of subscriber %s: %w", d.sub.Name, err)
	}
	d.position, d.saved = p, p
	d.replayTo, d.down, d.mute, d.broken = &after, false, false, false
	d.beginReplay()
	d.logger.Info("delivering again", "after", after)
	return nil
}

// beginReplay starts from where a replay was asked for, once nothing is under
// way that could overtake it.
func (d *dispatcher) beginReplay() {
	if d.replayTo != nil && d.inFlight == 0 {
		d.startFrom(*d.replayTo)
		d.replayTo = nil
	}
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
