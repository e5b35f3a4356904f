package push

import (
	"context"
	"fmt"
	"time"
)

// result is what an attempt came to, on its way back to the loop.
type result struct {
	outcome
	delivery *delivery
}

// handle acts on what an attempt came to.
func (d *dispatcher) handle(ctx context.Context, r result) {
	d.inFlight--
	if d.state.mode == modeReplaying { // which delivers it again, whatever it came to
		d.count(r.verdict)
		d.beginReplay()
		return
	}
	if ctx.Err() != nil && r.verdict != delivered {
		return // cut off by the stop, or not worth starting a wait for
	}
	d.count(r.verdict)
	if r.verdict != delivered {
		d.lastError = fmt.Sprintf("event %d: %s", r.delivery.sequence, describe(r.outcome))
	}
	if r.verdict != unreachable {
		d.window.suspect(r.delivery, r.verdict == cut)
	}
	switch r.verdict {
	case delivered:
		d.answered()
		d.deliveredCount++
		d.window.finish(r.delivery)
	case refused:
		d.answered()
		d.countAttempt(ctx, r)
	case notStored: // which is neither the event's fault nor the subscriber's
		d.answered()
		d.retryLater(ctx, r.delivery, d.backoff.wait(r.delivery.unstored))
		r.delivery.unstored++
	case rejected, badReply:
		d.answered()
		r.delivery.attempts++
		d.giveUp(ctx, r)
	case gone:
		d.stop(r)
	case unreachable:
		d.unanswered(modeDown, r)
		r.delivery.deliveredBefore = untried // it never got there
		d.window.release(r.delivery)
	case silent:
		d.noAnswer(ctx, modeSilent, r)
	case cut:
		d.noAnswer(ctx, modeDown, r)
	}
	d.advance()
}

// noAnswer blames the event if others got through since it was first tried, and
// the subscriber if none did.
func (d *dispatcher) noAnswer(ctx context.Context, to mode, r result) {
	toBlame := d.deliveredCount != r.delivery.deliveredBefore
	if !toBlame || d.state.probing() {
		d.unanswered(to, r)
	}
	if toBlame {
		d.countAttempt(ctx, r)
	} else {
		d.window.release(r.delivery)
	}
}

// countAttempt lets an event that was not taken wait for its next attempt, or
// gives it up after the last one.
func (d *dispatcher) countAttempt(ctx context.Context, r result) {
	r.delivery.attempts++
	r.delivery.deliveredBefore = d.deliveredCount
	if r.delivery.attempts >= d.config.Attempts {
		d.giveUp(ctx, r)
		return
	}
	wait := max(d.backoff.wait(r.delivery.attempts-1), r.retryAfter)
	d.logger.Debug("an event was not taken and is tried again", "sequence", r.delivery.sequence, "event", r.delivery.id, "attempt", r.delivery.attempts, "answer", describe(r.outcome), "wait", wait)
	d.retryLater(ctx, r.delivery, wait)
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
	if err := d.store.addDeadLetter(letter); err != nil {
		d.logger.Error("a dead letter could not be written; its event waits", "sequence", letter.Sequence, "error", err)
		d.retryLater(ctx, r.delivery, d.config.MostBackoff)
		return
	}
	d.position.DeadLetters++
	d.logger.Error("an event was given up: dead letter", "sequence", letter.Sequence, "event", letter.ID, "attempts", letter.Attempts, "answer", describe(r.outcome))
	d.window.finish(r.delivery)
	d.save()
}

// answered: the subscriber is there.
func (d *dispatcher) answered() {
	if d.state.answered() {
		d.logger.Info("the subscriber is back")
	}
}

// unanswered pauses all lanes; the next attempt is a probe.
func (d *dispatcher) unanswered(to mode, r result) {
	if d.state.unanswered(to, d.inFlight == 0, d.backoff) {
		d.logger.Warn("the subscriber is down: its events wait", "error", describe(r.outcome))
	}
}

// stop sends nothing more to a subscriber that answered 410.
func (d *dispatcher) stop(r result) {
	d.logger.Warn("the subscriber answered 410: it gets nothing more until a replay is asked for", "sequence", r.delivery.sequence)
	d.state.askedToStop()
	d.position.Stopped = true
	d.window.release(r.delivery)
	d.save()
}
