package eventlog

import (
	"context"
	"time"
)

// Pace is a writer's idea of who publishes at the moment: those whom the last
// round served and those who waited meanwhile. A round is a sync of this log, or
// where the log has copies a message. Most publish again when they are answered.
// Who begins a round without them makes them wait for a whole one; who waits for
// them makes those wait who are there. Its zero value waits for nobody.
//
//   - The writer waits for half a round after an answer at most, and never longer
//     than those who are missing gain by it in all.
//   - With whoever publishes alone it never waits, nor with who comes later.
type Pace struct {
	Expected int           // how many publish at the moment
	round    time.Duration // how long one takes, on average
	since    time.Time     // when they were answered
}

// Took takes note of how long a round took.
func (p *Pace) Took(took time.Duration) {
	if p.round == 0 {
		p.round = took
	}
	p.round += (took - p.round) / 8
}

// Late returns how long a round takes that takes much longer than most.
func (p *Pace) Late() time.Duration { return 2*p.round + time.Millisecond }

// Answered takes note that a group is answered now and how many wait already.
func (p *Pace) Answered(group, waiting int) {
	p.Expected, p.since = group+waiting, time.Now()
}

// Worth returns how much longer n requests should wait for those who are missing.
func (p *Pace) Worth(n int) time.Duration {
	missing := time.Duration(p.Expected - n)
	return min(p.round/2, p.round*missing/time.Duration(n)) - time.Since(p.since)
}

// gather waits for those who are Expected as long as it is worth it, but not if
// nobody waits.
func (l *Log) gather(ctx context.Context) {
	for {
		l.mu.Lock()
		n := len(l.waiting)
		if n == 0 || n >= l.pace.Expected {
			l.mu.Unlock()
			return
		}
		l.wanted = n + (l.pace.Expected-n+1)/2 // then it is another question
		select {
		case <-l.wake: // it told of fewer
		default:
		}
		l.mu.Unlock()
		most := l.pace.Worth(n)
		if most <= 0 {
			return
		}
		timeout := time.NewTimer(most)
		select {
		case <-l.wake:
			timeout.Stop()
		case <-timeout.C:
			return
		case <-ctx.Done():
			timeout.Stop()
			return
		}
	}
}
