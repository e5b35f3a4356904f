package push

import (
	"context"
	"fmt"
	"time"

	"miniblog/event-bus/activity"
)

// result is what an attempt came to, on its way back to the loop.
type result struct {
	outcome
	delivery *delivery
	began    time.Time
	took     time.Duration
}

// handle acts on what an attempt came to.
func (d *dispatcher) handle(ctx context.Context, r result) {
	d.inFlight--
	d.attemptSeconds.Observe(r.took.Seconds())
	if !d.tenure.Holds() {
		return // whatever it came to: it is another's to say
	}
	d.config.Activity.Delivered(activity.Delivery{
		Subscriber: d.sub.Name, Sequence: r.delivery.sequence, Attempt: r.delivery.attempts + 1,
		Outcome: outcomes[r.verdict], Status: r.status, Answer: r.answer, Began: r.began, Took: r.took,
	})
	d.tries.remember(r)
	if d.state.mode == modeReplaying { // which delivers it again, whatever it came to, unless it was a dead letter
		d.count(r.verdict)
		if r.verdict == delivered && r.delivery.again != nil {
			d.noLetter(r.delivery)
			d.settle(r.delivery, true)
		}
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
	if r.delivery.check {
		d.handleCheck(r)
		return
	}
	if r.verdict != unreachable {
		d.window.suspect(r.delivery, r.verdict == cut)
	}
	switch r.verdict {
	case delivered:
		d.took()
		d.deliveredCount++
		d.noteDelivered(r.delivery)
		d.noLetter(r.delivery)
		d.settle(r.delivery, true)
		d.window.finish(r.delivery)
	case notStored: // which is neither the event's fault nor the subscriber's
		d.took()
		d.retryLater(ctx, r.delivery, d.backoff.wait(r.delivery.unstored))
		r.delivery.unstored++
	case badReply:
		d.took()
		r.delivery.attempts++
		d.giveUp(ctx, r)
	case rejected:
		if d.state.answered() {
			d.logger.Info("the subscriber is back")
		}
		r.delivery.attempts++
		d.giveUp(ctx, r)
	case gone:
		d.stop(r)
		d.window.release(r.delivery)
	case unreachable:
		d.failed(modeDown, r)
		r.delivery.deliveredBefore = untried // it never got there
		d.window.release(r.delivery)
	case silent:
		d.notTaken(ctx, modeSilent, r)
	case cut:
		d.notTaken(ctx, modeDown, r)
	case refused:
		d.notTaken(ctx, modeFailing, r)
	}
	d.advance()
}

// handleCheck acts on what became of the event that was delivered last and was
// sent once more. Its reply, if any, is not wanted.
func (d *dispatcher) handleCheck(r result) {
	switch r.verdict {
	case delivered:
		d.took()
		d.deliveredCount++
	case gone:
		d.stop(r)
	case unreachable, cut:
		d.failed(modeDown, r)
	case silent:
		d.failed(modeSilent, r)
	case rejected: // it bears no repetition, and so tells nothing
		d.position.LastDelivered, d.taken = 0, nil
		d.failed(modeFailing, r)
	default:
		d.failed(modeFailing, r)
	}
}

// notTaken blames the event if others got through since it was first tried, and
// the subscriber if none did. A first refusal blames nobody yet: its subject
// waits, and what else is sent will tell.
func (d *dispatcher) notTaken(ctx context.Context, to mode, r result) {
	first := !r.delivery.failed
	r.delivery.failed = true
	takes := d.state.mode == modeUp || d.state.mode == modeChecking
	switch {
	case d.deliveredCount != r.delivery.deliveredBefore:
		if !takes {
			d.failed(to, r)
		}
		d.countAttempt(ctx, r)
	case r.verdict == refused && first && takes:
		d.retryLater(ctx, r.delivery, max(d.backoff.wait(0), r.retryAfter))
	default:
		d.failed(to, r)
		if r.retryAfter > 0 {
			d.retryLater(ctx, r.delivery, r.retryAfter)
		} else {
			d.window.release(r.delivery)
		}
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
// If nothing got through since its event was tried, a check comes first: it tells
// whether the event is to blame.
func (d *dispatcher) retry(del *delivery) {
	if d.window.lanes[del.lane.key] != del.lane {
		return
	}
	if del.failed && del.deliveredBefore == d.deliveredCount && d.position.LastDelivered != 0 {
		d.state.check()
	}
	d.window.release(del)
}

// giveUp makes a dead letter of a delivery and lets its subject go on. While
// the dead letter cannot be written the event is not passed over.
func (d *dispatcher) giveUp(ctx context.Context, r result) {
	letter := DeadLetter{
		Sequence: r.delivery.sequence, ID: r.delivery.id, Time: time.Now().UTC(),
		Attempts: r.delivery.attempts, Status: r.status, Answer: r.answer, Event: r.delivery.line,
	}
	letter.Reason = reasonOf(letter)
	if err := d.store.Add(letter); err != nil {
		d.logger.Error("a dead letter could not be written; its event waits", "sequence", letter.Sequence, "error", err)
		d.retryLater(ctx, r.delivery, d.config.MostBackoff)
		return
	}
	d.letters.add(letter)
	d.settle(r.delivery, false)
	d.logger.Error("an event was given up: dead letter", "sequence", letter.Sequence, "event", letter.ID, "attempts", letter.Attempts, "answer", describe(r.outcome))
	d.window.finish(r.delivery)
}

// took: the subscriber takes events.
func (d *dispatcher) took() {
	if d.state.took() {
		d.logger.Info("the subscriber is back")
	}
}

// failed pauses all lanes; the next attempt is a probe.
func (d *dispatcher) failed(to mode, r result) {
	if d.state.failed(to, d.inFlight == 0, r.retryAfter, d.backoff) {
		d.logger.Warn("the subscriber takes nothing: its events wait", "state", d.state.name(), "error", describe(r.outcome))
	}
}

// stop sends nothing more to a subscriber that answered 410.
func (d *dispatcher) stop(r result) {
	d.logger.Warn("the subscriber answered 410: it gets nothing more until a replay is asked for", "sequence", r.delivery.sequence)
	d.state.askedToStop()
	d.position.Stopped = true
	d.save()
}
