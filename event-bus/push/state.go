package push

import (
	"math/rand/v2"
	"time"

	"miniblog/internal/event"
)

// mode says how a subscriber is doing, and so what may be sent to it.
type mode int

const (
	modeUp        mode = iota // everything that is ready
	modeDown                  // one probe at a time, each after a longer wait
	modeSilent                // as down, but events that were not tried yet are probes that need not wait
	modeStopped               // nothing until a replay is asked for
	modeReplaying             // nothing until what is under way has come back
)

// state is a mode with what belongs to it. Its methods are the transitions
// that the package comment draws; each tells whether the mode has changed.
type state struct {
	mode         mode
	failedProbes int            // down and silent: in a row
	probeAt      time.Time      // down and silent: not before
	replayAfter  event.Sequence // replaying: where it will begin
}

// name is what people are told.
func (s *state) name() string {
	switch s.mode {
	case modeDown, modeSilent:
		return "down"
	case modeStopped:
		return "stopped"
	default:
		return "up"
	}
}

// probing tells whether one event at a time is sent, to find out whether the
// subscriber is back.
func (s *state) probing() bool { return s.mode == modeDown || s.mode == modeSilent }

// sends tells whether anything may be sent, sooner or later, without somebody
// asking for it.
func (s *state) sends() bool { return s.mode != modeStopped && s.mode != modeReplaying }

// probeIsDue tells whether the wait before the next probe is over.
func (s *state) probeIsDue() bool { return time.Until(s.probeAt) <= 0 }

// answered: the subscriber gave an answer, whatever it was.
func (s *state) answered() (changed bool) {
	if !s.probing() {
		return false
	}
	*s = state{}
	return true
}

// unanswered: there was no answer, and nothing tells that one event is to blame.
// last tells that nothing else is under way: what comes back while something is
// was sent before the subscriber went down and is no probe.
func (s *state) unanswered(to mode, last bool, b backoff) (changed bool) {
	switch {
	case !s.sends():
		return false
	case !s.probing():
		changed = true
	case !last:
		return false
	default:
		s.failedProbes++
	}
	s.mode = to // which a later probe may change between down and silent
	s.probeAt = time.Now().Add(b.wait(s.failedProbes))
	return changed
}

// askedToStop: the subscriber answered 410.
func (s *state) askedToStop() { *s = state{mode: modeStopped} }

// replay: somebody asked to deliver again from after a sequence.
func (s *state) replay(after event.Sequence) { *s = state{mode: modeReplaying, replayAfter: after} }

// drained: nothing is under way any more that a replay could overtake.
func (s *state) drained() { *s = state{} }

// backoff is how long to wait between attempts.
type backoff struct{ first, most time.Duration }

// wait returns the wait after n earlier failures: exponential, with jitter over
// its upper half.
func (b backoff) wait(n int) time.Duration {
	wait := b.most
	if n < 20 {
		wait = min(wait, b.first<<n)
	}
	return wait/2 + rand.N(wait/2+1)
}
