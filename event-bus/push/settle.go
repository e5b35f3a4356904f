package push

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"
)

// attempt is a delivery on its way to the subscriber, out of a window. One that
// was replaced by a replay no longer cares.
type attempt struct {
	delivery *delivery
	window   *window
}

// result is what an attempt came to, on its way back to the loop.
type result struct {
	outcome
	attempt
}

// settle acts on what an attempt came to.
func (d *dispatcher) settle(ctx context.Context, r result) {
	d.inFlight--
	current := r.window == d.window && d.replayTo == nil // a replay delivers it again, whatever it came to
	d.beginReplay()
	if ctx.Err() != nil && r.verdict != delivered {
		return // cut off by the stop, or not worth starting a wait for
	}
	d.count(r.verdict)
	if r.verdict != delivered {
		d.lastError = fmt.Sprintf("event %d: %s", r.delivery.sequence, describe(r.outcome))
	}
	if current && r.verdict != unreachable {
		d.window.suspect(r.delivery, r.verdict == cut)
	}
	switch {
	case r.status != 0:
		d.goUp()
	case r.verdict == unreachable, d.through == r.delivery.through: // nothing got through since it was tried before
		d.goDown(r)
		if r.verdict == unreachable {
			r.delivery.through = -1 // it never got there
		}
		if current {
			d.window.release(r.delivery)
		}
		return
	case d.down:
		d.goDown(r) // it counts, for others got through, and still the next probe waits
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
