package push

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"miniblog/internal/event"
	"miniblog/test/wait"
)

func TestSubscriberThatIsDownLosesNothingAndNoAttempts(t *testing.T) {
	t.Parallel()
	answer := func(r *receiver, whenDown func(http.ResponseWriter, *http.Request)) (up func()) {
		var isUp atomic.Bool
		r.answer = func(w http.ResponseWriter, request *http.Request, _ event.Event) {
			if !isUp.Load() {
				whenDown(w, request)
			}
		}
		return func() { isUp.Store(true) }
	}
	for name, test := range map[string]struct {
		state    string
		timeout  time.Duration
		subjects int
		goDown   func(*receiver) (up func())
	}{
		"nothing listens": {"down", time.Minute, 30, func(r *receiver) func() { r.stop(); return r.start }},
		"connections are reset": {"down", time.Minute, 30, func(r *receiver) func() {
			return answer(r, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
		}},
		"everything is refused": {"failing", time.Minute, 30, func(r *receiver) func() {
			return answer(r, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
		}},
		"there is one subject, and it is refused": {"failing", time.Minute, 1, func(r *receiver) func() {
			return answer(r, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) })
		}},
		"everything is redirected": {"failing", time.Minute, 30, func(r *receiver) func() {
			return answer(r, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Location", "/login")
				w.WriteHeader(http.StatusFound)
			})
		}},
		"nobody answers": {"down", 250 * time.Millisecond, 2, func(r *receiver) func() {
			return answer(r, func(_ http.ResponseWriter, request *http.Request) { <-request.Context().Done() })
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			log := openLog(t, t.TempDir())
			r := receive(t, nil)
			up := test.goDown(r)
			sub := r.subscriber("down")
			sub.Timeout = Duration(test.timeout)
			last := publish(t, log, subjects(60, test.subjects)...)
			p := runWith(t, Config{Log: log, Dir: t.TempDir(), Attempts: 1}, sub) // one attempt that counts makes a dead letter
			p.wantStatus("down", test.state, func(s Status) bool { return s.State == test.state && s.LastError != "" && s.Lag == uint64(last) })
			wait.Nil(t, "some probes", func() (err error) {
				p.look(0, func(d *dispatcher) {
					if d.state.probing() && d.state.failedProbes > 0 && d.inFlight > 1 {
						t.Errorf("%d events are under way to a subscriber that is down", d.inFlight)
					}
					if d.state.failedProbes < 3 {
						err = fmt.Errorf("%d probes", d.state.failedProbes)
					}
				})
				return err
			})
			up()
			p.wantCursor("down", last)
			if s := p.status("down"); s.State != "up" || s.DeadLetterCount != 0 {
				t.Errorf("the subscriber is %+v", s)
			}
			r.wantAll(1, last)
		})
	}
}

func TestSubscriberThatGoesAwayInTheMiddleGetsTheRestWhenItIsBack(t *testing.T) {
	t.Parallel()
	log := openLog(t, t.TempDir())
	r := receive(t, nil)
	last := publish(t, log, subjects(300, 25)...)
	p := runWith(t, Config{Log: log, Dir: t.TempDir()}, r.subscriber("all"))
	for range 3 {
		r.stop()
		p.wantStatus("all", "down", func(s Status) bool { return s.State == "down" })
		last = publish(t, log, subjects(100, 25)...)
		r.start()
		p.wantStatus("all", "up", func(s Status) bool { return s.State == "up" })
	}
	p.wantCursor("all", last)
	r.wantAll(1, last)
	if s := p.status("all"); s.DeadLetterCount != 0 {
		t.Errorf("the subscriber is %+v", s)
	}
}

// A reaction that could not publish made a dead letter of every comment: 20
// answers 503 each.
func TestSubscriberThatBeginsToRefuseEverythingIsFailingAndLosesNothing(t *testing.T) {
	t.Parallel()
	log := openLog(t, t.TempDir())
	var refuse atomic.Bool
	r := receive(t, func(w http.ResponseWriter, _ *http.Request, _ event.Event) {
		if refuse.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	p := runWith(t, Config{Log: log, Dir: t.TempDir(), Attempts: 2}, r.subscriber("all"))
	var last event.Sequence
	for _, different := range []int{20, 1} {
		refuse.Store(false)
		p.wantCursor("all", publish(t, log, "before"))
		refuse.Store(true)
		last = publish(t, log, subjects(40, different)...)
		before := len(r.arrivals())
		wait.Nil(t, "more attempts than would make dead letters of all", func() error {
			if n := len(r.arrivals()) - before; n < 100 {
				return fmt.Errorf("%d", n)
			}
			return nil
		})
		p.wantStatus("all", "failing", func(s Status) bool { return s.State == "failing" && strings.Contains(s.LastError, "503") })
		refuse.Store(false)
		if s := p.wantCursor("all", last); s.DeadLetterCount != 0 || s.State != "up" {
			t.Errorf("the subscriber is %+v", s)
		}
	}
	r.wantAll(1, last)
}

// With nothing else to tell, an event that its subscriber never takes would hold
// up its subject for ever: the last delivered one tells.
func TestEventThatIsNeverTakenIsGivenUpThoughNothingElseIsSent(t *testing.T) {
	t.Parallel()
	for name, bad := range map[string]func(*receiver, http.ResponseWriter, *http.Request){
		"it is refused":           func(_ *receiver, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) },
		"its connection is reset": func(*receiver, http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"it is not answered":      func(_ *receiver, _ http.ResponseWriter, request *http.Request) { <-request.Context().Done() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			log, dir := openLog(t, t.TempDir()), t.TempDir()
			r := receive(t, nil)
			r.answer = func(w http.ResponseWriter, request *http.Request, e event.Event) {
				if e.Sequence == 2 {
					bad(r, w, request)
				}
			}
			sub := r.subscriber("all")
			sub.Timeout = Duration(500 * time.Millisecond)
			p := runWith(t, Config{Log: log, Dir: dir}, sub)
			publish(t, log, "")
			p.wantCursor("all", 1)
			p.stop() // it is known after a restart
			publish(t, log, "", "")
			p = runWith(t, Config{Log: log, Dir: dir, Attempts: 3}, sub)
			s := p.wantCursor("all", 3)
			if s.DeadLetterCount != 1 || s.DeadLetters[0].Sequence != 2 || s.DeadLetters[0].Attempts != 3 || s.State != "up" {
				t.Errorf("the subscriber is %+v", s)
			}
			for _, q := range r.got() {
				if q == 2 {
					t.Error("the event was taken")
				}
			}
			r.wantOrder()
		})
	}
}

// Nothing tells a bad first event from a subscriber that does not work yet: it
// waits, and others tell as soon as there are some.
func TestFirstEventWaitsUntilAnotherGetsThrough(t *testing.T) {
	t.Parallel()
	log := openLog(t, t.TempDir())
	r := receive(t, func(w http.ResponseWriter, _ *http.Request, e event.Event) {
		if e.Sequence == 1 {
			w.WriteHeader(500)
		}
	})
	p := runWith(t, Config{Log: log, Dir: t.TempDir(), Attempts: 2}, r.subscriber("all"))
	publish(t, log, "a", "a")
	wait.Nil(t, "more attempts than would make a dead letter", func() error {
		if n := len(r.arrivals()); n < 10 {
			return fmt.Errorf("%d", n)
		}
		return nil
	})
	if s := p.status("all"); s.State != "failing" || s.DeadLetterCount != 0 || s.Cursor != 0 {
		t.Errorf("the subscriber is %+v", s)
	}
	publish(t, log, "b")
	if s := p.wantCursor("all", 3); s.DeadLetterCount != 1 || s.DeadLetters[0].Attempts != 2 {
		t.Errorf("the subscriber is %+v", s)
	}
}
