package push

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"miniblog/internal/event"
	"miniblog/test/wait"
)

func TestReplayDeliversAgainInOrder(t *testing.T) {
	t.Parallel()
	log, dir := openLog(t, t.TempDir()), t.TempDir()
	r := receive(t, nil)
	last := publish(t, log, subjects(60, 7)...)
	p := run(t, log, dir, r.subscriber("all"))
	p.wantCursor("all", last)
	for _, after := range []event.Sequence{0, 1, 30, last - 1, last} {
		r.forget()
		s, err := p.Replay(t.Context(), "all", after, false)
		if err != nil || s.Cursor != after || s.Lag != uint64(last-after) {
			t.Fatalf("after %d: %+v, %v", after, s, err)
		}
		p.wantCursor("all", last)
		r.wantAll(after+1, last)
		if got := r.got(); len(got) != int(last-after) {
			t.Errorf("after %d it got %d", after, got)
		}
	}
	r.wantOneAtATime()

	t.Run("a crash right after does not forget it", func(t *testing.T) {
		if _, err := p.Replay(t.Context(), "all", 5, false); err != nil {
			t.Fatal(err)
		}
		r.wantAll(6, last)
		p.stop()
	})
	t.Run("not from beyond the end, nor to nobody", func(t *testing.T) {
		p := run(t, log, dir, r.subscriber("all"))
		p.wantCursor("all", last)
		if _, err := p.Replay(t.Context(), "all", last+1, false); !errors.Is(err, ErrAhead) {
			t.Errorf("got %v", err)
		}
		if _, err := p.Replay(t.Context(), "nobody", 0, false); !errors.Is(err, ErrUnknown) {
			t.Errorf("got %v", err)
		}
		p.stop()
		if _, err := p.Replay(t.Context(), "all", 0, false); !errors.Is(err, ErrStopped) {
			t.Errorf("got %v", err)
		}
	})
}

// A replay from ahead of the cursor passed over what was not delivered, without a trace.
func TestReplayAheadOfTheCursorIsRefused(t *testing.T) {
	t.Parallel()
	log := openLog(t, t.TempDir())
	r := receive(t, nil)
	r.stop()
	last := publish(t, log, subjects(10, 3)...)
	p := run(t, log, t.TempDir(), r.subscriber("all"))
	for _, after := range []event.Sequence{1, last, last + 1} {
		if s, err := p.Replay(t.Context(), "all", after, false); !errors.Is(err, ErrAhead) || s.Cursor != 0 {
			t.Errorf("a replay from after %d gives %v, and the cursor is at %d", after, err, s.Cursor)
		}
	}
	r.start()
	p.wantCursor("all", last)
	r.wantAll(1, last)
}

func TestReplayIsDurableWhenItIsAnswered(t *testing.T) {
	t.Parallel()
	log, dir := openLog(t, t.TempDir()), t.TempDir()
	var hold atomic.Bool
	leave := make(chan struct{})
	r := receive(t, func(http.ResponseWriter, *http.Request, event.Event) {
		if hold.Load() {
			<-leave
		}
	})
	last := publish(t, log, subjects(10, 2)...)
	p := run(t, log, dir, r.subscriber("all"))
	p.wantCursor("all", last)
	hold.Store(true)
	defer close(leave)
	if _, err := p.Replay(t.Context(), "all", 3, false); err != nil {
		t.Fatal(err)
	}
	if saved, _, err := newFileStore(dir, "all").Load(ignore); saved.Cursor != 3 || err != nil {
		t.Errorf("on disk is %+v, %v", saved, err)
	}
}

// What is under way when a replay is asked for must neither count for it nor
// overtake it.
func TestReplayWhileEventsAreUnderWay(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]func(http.ResponseWriter, event.Event){
		"and are taken":    func(http.ResponseWriter, event.Event) {},
		"and are refused":  func(w http.ResponseWriter, _ event.Event) { w.WriteHeader(503) },
		"and are rejected": func(w http.ResponseWriter, _ event.Event) { w.WriteHeader(400) },
		"and are reset":    func(http.ResponseWriter, event.Event) { panic(http.ErrAbortHandler) },
		"and one asks to stop": func(w http.ResponseWriter, e event.Event) {
			w.WriteHeader(map[bool]int{true: 410, false: 200}[e.Sequence == 1])
		},
		"and all ask to stop":   func(w http.ResponseWriter, e event.Event) { w.WriteHeader(410) },
		"and wait for a second": func(w http.ResponseWriter, _ event.Event) { w.Header().Set("Retry-After", "1"); w.WriteHeader(503) },
	} {
		t.Run(name, func(t *testing.T) {
			log, dir := openLog(t, t.TempDir()), t.TempDir()
			var mu sync.Mutex
			held := map[event.Sequence]chan struct{}{}
			var again atomic.Bool
			r := receive(t, func(w http.ResponseWriter, _ *http.Request, e event.Event) {
				if again.Load() {
					return
				}
				leave := make(chan struct{})
				mu.Lock()
				held[e.Sequence] = leave
				mu.Unlock()
				<-leave
				answer(w, e)
			})
			last := publish(t, log, subjects(12, 3)...)
			p := run(t, log, dir, r.subscriber("all"))
			wait.Nil(t, "three requests", func() error {
				if got := r.arrivals(); len(got) < 3 {
					return fmt.Errorf("%d", got)
				}
				return nil
			})
			if s, err := p.Replay(t.Context(), "all", 0, false); err != nil || s.Cursor != 0 {
				t.Fatalf("%+v, %v", s, err)
			}
			again.Store(true)
			for _, q := range []event.Sequence{1, 2, 3} { // one after the other has come back
				mu.Lock()
				close(held[q])
				mu.Unlock()
				wait.Nil(t, "its answer", func() (err error) {
					p.look(0, func(d *dispatcher) {
						if d.state.mode == modeReplaying && d.inFlight > 3-int(q) {
							err = fmt.Errorf("%d are under way", d.inFlight)
						}
					})
					return err
				})
			}
			s := p.wantCursor("all", last)
			if s.State != "up" || s.DeadLetterCount != 0 {
				t.Errorf("the subscriber is %+v", s)
			}
			var afterwards []event.Sequence
			for _, q := range r.arrivals()[3:] {
				if !slices.Contains(afterwards, q) {
					afterwards = append(afterwards, q)
				}
			}
			for subject := range 3 {
				var of []event.Sequence
				for _, q := range afterwards {
					if int(q-1)%3 == subject {
						of = append(of, q)
					}
				}
				first := event.Sequence(subject + 1)
				if !slices.Equal(of, []event.Sequence{first, first + 3, first + 6, first + 9}) {
					t.Errorf("subject %d got %d in the replay", subject, of)
				}
			}
			r.wantOneAtATime()
		})
	}
}

// A replay that began while a retry was waiting must not be disturbed by it.
func TestRetryFromBeforeAReplayIsForgotten(t *testing.T) {
	t.Parallel()
	log := openLog(t, t.TempDir())
	var fail atomic.Bool
	fail.Store(true)
	r := receive(t, func(w http.ResponseWriter, _ *http.Request, e event.Event) {
		if fail.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	last := publish(t, log, subjects(40, 20)...)
	p := runWith(t, Config{Log: log, Dir: t.TempDir(), FirstBackoff: 20 * time.Millisecond, MostBackoff: 20 * time.Millisecond, Attempts: 1 << 30}, r.subscriber("all"))
	for range 5 {
		n := len(r.arrivals())
		wait.Nil(t, "some failures", func() error {
			if got := len(r.arrivals()); got < n+20 {
				return fmt.Errorf("%d", got)
			}
			return nil
		})
		if _, err := p.Replay(t.Context(), "all", 0, false); err != nil {
			t.Fatal(err)
		}
	}
	wait.Nil(t, "the replay to begin, and nothing to be under way", func() (err error) { // what was under way comes again
		p.look(0, func(d *dispatcher) {
			if d.state.mode == modeReplaying || d.inFlight > 0 {
				err = fmt.Errorf("%d are under way", d.inFlight)
			} else {
				fail.Store(false) // nothing is refused beside what is taken, and so nothing is sent once more
			}
		})
		return err
	})
	p.wantCursor("all", last)
	r.wantAll(1, last)
	r.wantOneAtATime()
	if n := len(r.got()); n != int(last) {
		t.Errorf("%d deliveries of %d events", n, last)
	}
}

func TestReplayThatCannotBeSavedIsNotAnsweredAsDone(t *testing.T) {
	t.Parallel()
	log, dir := openLog(t, t.TempDir()), t.TempDir()
	r := receive(t, nil)
	last := publish(t, log, subjects(10, 2)...)
	p := run(t, log, dir, r.subscriber("all"))
	p.wantCursor("all", last)
	wait.Nil(t, "its cursor on disk", func() error {
		saved, _, err := newFileStore(dir, "all").Load(ignore)
		if err == nil && saved.Cursor != last {
			err = fmt.Errorf("it is %d", saved.Cursor)
		}
		return err
	})
	inTheWay := filepath.Join(dir, "all.json.tmp")
	if err := os.Mkdir(inTheWay, 0o755); err != nil { // a disk that refuses to write
		t.Fatal(err)
	}
	if s, err := p.Replay(t.Context(), "all", 0, false); err == nil {
		t.Errorf("it was answered with %+v", s)
	}
	p.wantCursor("all", last)
	os.Remove(inTheWay)
	last = publish(t, log, "x")
	p.wantCursor("all", last)
	p.stop()
	if saved, _, err := newFileStore(dir, "all").Load(ignore); saved.Cursor != last || err != nil {
		t.Errorf("when the disk works again the cursor there is %d, %v", saved.Cursor, err)
	}
}
