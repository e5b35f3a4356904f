package cluster

import (
	"context"
	"time"
)

// A copy sends what waits as one message, and the next one when that is answered:
// so messages are few and hold much, and what they cost is shared by many.
//
//   - A message that is full need not wait for that, and one that takes longer than
//     usual does not hold up the next one; a third waits until the stream has one.
//   - What comes right after an answer is waited for a moment: see eventlog.Pace.

// inFlight is how many messages of one copy are on their way to the stream at most.
const inFlight = 2

// send sends what waits, one message after the other, until ctx ends.
func (l *Log) send(ctx context.Context) {
	free := make(chan struct{}, inFlight)
	for {
		select {
		case free <- struct{}{}:
		case <-ctx.Done():
			return
		}
		requests := l.next(ctx)
		if len(requests) == 0 {
			return
		}
		g := &group{nonce: l.nonces.next(), requests: requests, settled: make(chan struct{})}
		l.done.Go(func() {
			began := time.Now()
			l.publish(ctx, g)
			<-free
			<-g.settled
			l.mu.Lock()
			defer l.mu.Unlock()
			l.pace.Took(min(time.Since(began), l.pace.Late())) // an election is no measure of the others
		})
		l.untilNext(g)
	}
}

// untilNext waits until the message after g's may go.
func (l *Log) untilNext(g *group) {
	l.mu.Lock()
	select {
	case <-l.full: // it told of what has gone
	default:
	}
	full, late := l.size >= groupBytes, time.NewTimer(l.pace.Late())
	l.mu.Unlock()
	defer late.Stop()
	if full {
		return
	}
	select {
	case <-g.settled:
		l.mu.Lock()
		defer l.mu.Unlock()
		l.pace.Answered(len(g.requests), len(l.waiting))
	case <-l.full:
	case <-late.C:
	}
}

// next waits for the requests that go as one message; there are none when ctx has
// ended.
func (l *Log) next(ctx context.Context) []*request {
	for {
		l.pace.Gather(ctx, &l.mu, func() (int, bool) { return len(l.waiting), l.size >= groupBytes })
		if requests := l.take(); len(requests) > 0 {
			return requests
		}
		select {
		case <-l.pace.Woken():
		case <-ctx.Done():
			return nil
		}
	}
}
