package push

import (
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"miniblog/internal/event"
)

func TestSubscriberThatIsDownLosesNothingAndNoAttempts(t *testing.T) {
	t.Parallel()
	answer := func(r *receiver, whenDown func(*http.Request)) (up func()) {
		var isUp atomic.Bool
		r.answer = func(_ http.ResponseWriter, request *http.Request, _ event.Event) {
			if !isUp.Load() {
				whenDown(request)
			}
		}
		return func() { isUp.Store(true) }
	}
	for name, test := range map[string]struct {
		timeout  time.Duration
		subjects int
		goDown   func(*receiver) (up func())
	}{
		"nothing listens": {time.Minute, 30, func(r *receiver) func() { r.stop(); return r.start }},
		"connections are reset": {time.Minute, 30, func(r *receiver) func() {
			return answer(r, func(*http.Request) { panic(http.ErrAbortHandler) })
		}},
		"nobody answers": {250 * time.Millisecond, 2, func(r *receiver) func() {
			return answer(r, func(request *http.Request) { <-request.Context().Done() })
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
			p.wantStatus("down", "down", func(s Status) bool { return s.State == "down" && s.LastError != "" && s.Lag == uint64(last) })
			waitFor(t, "some probes", func() (err error) {
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
