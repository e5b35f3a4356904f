package eventlog

import (
	"context"
	"time"
)

// pace is the writer's idea of who publishes at the moment: those whom the last
// sync served and those who waited meanwhile. Most of them publish again when they
// are answered. Who begins a sync without them makes them wait for a whole one; who
// waits for them makes those wait who are there.
//
//   - The writer waits for half a sync after an answer at most, and never longer
//     than those who are missing gain by it in all.
//   - With whoever publishes alone it never waits, nor with who comes later.
type pace struct {
	sync     time.Duration // how long one takes, on average
	expected int
	since    time.Time // when they were answered
}

// synced takes note of how long a sync took.
func (p *pace) synced(took time.Duration) {
	if p.sync == 0 {
		p.sync = took
	}
	p.sync += (took - p.sync) / 8
}

// answered takes note that a group is answered now and how many wait already.
func (p *pace) answered(group, waiting int) {
	p.expected, p.since = group+waiting, time.Now()
}

// worth returns how much longer n requests should wait for those who are missing.
func (p *pace) worth(n int) time.Duration {
	missing := time.Duration(p.expected - n)
	return min(p.sync/2, p.sync*missing/time.Duration(n)) - time.Since(p.since)
}

// gather waits for those who are expected as long as it is worth it, but not if
// nobody waits.
func (l *Log) gather(ctx context.Context) {
	for {
		l.mu.Lock()
		n := len(l.waiting)
		if n == 0 || n >= l.pace.expected {
			l.mu.Unlock()
			return
		}
		l.wanted = n + (l.pace.expected-n+1)/2 // then it is another question
		select {
		case <-l.wake: // it told of fewer
		default:
		}
		l.mu.Unlock()
		most := l.pace.worth(n)
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
