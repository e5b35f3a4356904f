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
	modeChecking              // the last delivered event once more: can the subscriber take anything?
	modeDown                  // one probe at a time, each after a longer wait
	modeSilent                // as down, but events that were not tried yet are probes that need not wait
	modeFailing               // as down, but it answers, and refuses everything
	modeStopped               // nothing until a replay is asked for
	modeReplaying             // nothing until what is under way has come back
)

// state is a mode with what belongs to it. Its methods are the transitions
// that the package comment draws; each tells whether the name has changed.
type state struct {
	mode         mode
	failedProbes int            // in a row
	probeAt      time.Time      // while probing: not before
	replayAfter  event.Sequence // replaying: where it will begin
}

// name is what people are told.
func (s *state) name() string {
	switch s.mode {
	case modeDown, modeSilent:
		return "down"
	case modeFailing:
		return "failing"
	case modeStopped:
		return "stopped"
	default:
		return "up"
	}
}

// probing tells whether one event at a time is sent, to find out whether the
// subscriber takes it.
func (s *state) probing() bool { return s.sends() && s.mode != modeUp }

// sends tells whether anything may be sent, sooner or later, without somebody
// asking for it.
func (s *state) sends() bool { return s.mode != modeStopped && s.mode != modeReplaying }

// probeIsDue tells whether the wait before the next probe is over.
func (s *state) probeIsDue() bool { return time.Until(s.probeAt) <= 0 }

// took: the subscriber took an event.
func (s *state) took() (changed bool) {
	before := s.name()
	if s.probing() {
		*s = state{}
	}
	return s.name() != before
}

// answered: the subscriber said no to an event, for the event's own sake.
func (s *state) answered() (changed bool) {
	if s.mode != modeDown && s.mode != modeSilent {
		return false
	}
	*s = state{}
	return true
}

// check: an event is about to be tried again, and nothing was taken meanwhile.
func (s *state) check() {
	if s.mode == modeUp {
		*s = state{mode: modeChecking}
	}
}

// failed: an event was not taken, and nothing tells that the event is to blame.
// The next probe waits for atLeast. last tells that nothing else is under way:
// what comes back while something is was sent before and is no probe.
func (s *state) failed(to mode, last bool, atLeast time.Duration, b backoff) (changed bool) {
	before := s.name()
	switch {
	case !s.sends():
		return false
	case s.mode == modeUp, s.mode == modeChecking:
		s.failedProbes = 0
	case !last:
		return false
	default:
		s.failedProbes++
	}
	s.mode = to // a later probe may fail in another way
	s.probeAt = time.Now().Add(max(atLeast, b.wait(s.failedProbes)))
	return s.name() != before
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
