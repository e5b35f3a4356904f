package eventlog

import (
	"context"
	"sync"
	"time"
)

// Pace wakes a writer, and is its idea of who publishes at the moment: those whom
// the last round served and those who waited meanwhile. A round is a sync of this
// log, or where the log has copies a message. Most publish again when they are
// answered. Who begins a round without them makes them wait for a whole one; who
// waits for them makes those wait who are there. At first it waits for nobody.
//
//   - The writer waits for half a round after an answer at most, and never longer
//     than those who are missing gain by it in all.
//   - With whoever publishes alone it never waits, nor with who comes later.
//   - Enough, Taken and Answered are called under the lock of what waits; Took and
//     Late, too, unless the goroutine that gathers calls them.
type Pace struct {
	wake     chan struct{} // holds one
	wanted   int           // how many must wait before the writer is woken
	expected int           // how many publish at the moment
	round    time.Duration // how long one takes, on average
	since    time.Time     // when they were answered
}

// NewPace returns the pace of a writer whom the first who waits wakes.
func NewPace() Pace { return Pace{wake: make(chan struct{}, 1), wanted: 1} }

// Enough tells whether n who wait are enough to Tell the writer.
func (p *Pace) Enough(n int) bool { return n >= p.wanted }

// Tell wakes the writer.
func (p *Pace) Tell() {
	select {
	case p.wake <- struct{}{}:
	default: // it has been told
	}
}

// Woken receives when the writer has been told.
func (p *Pace) Woken() <-chan struct{} { return p.wake }

// Taken takes note that the writer takes who waits: the next one wakes it again.
func (p *Pace) Taken() { p.wanted = 1 }

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
	p.expected, p.since = group+waiting, time.Now()
}

// worth returns how much longer n requests should wait for those who are missing.
func (p *Pace) worth(n int) time.Duration {
	missing := time.Duration(p.expected - n)
	return min(p.round/2, p.round*missing/time.Duration(n)) - time.Since(p.since)
}

// Gather blocks for those who are expected as long as it is worth it, but not if
// nobody waits. waiting is called under mu: how many wait, and whether a round has
// room for no more.
func (p *Pace) Gather(ctx context.Context, mu sync.Locker, waiting func() (n int, full bool)) {
	for {
		mu.Lock()
		n, full := waiting()
		if n == 0 || n >= p.expected || full {
			mu.Unlock()
			return
		}
		p.wanted = n + (p.expected-n+1)/2 // then it is another question
		select {
		case <-p.wake: // it told of fewer
		default:
		}
		most := p.worth(n)
		mu.Unlock()
		if most <= 0 {
			return
		}
		timeout := time.NewTimer(most)
		select {
		case <-p.wake:
			timeout.Stop()
		case <-timeout.C:
			return
		case <-ctx.Done():
			timeout.Stop()
			return
		}
	}
}
