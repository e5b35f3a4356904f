package push

import (
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"miniblog/internal/event"
	"miniblog/test/wait"
)

func TestEventThatIsRefusedHoldsUpItsSubjectOnly(t *testing.T) {
	t.Parallel()
	for _, code := range []int{301, 304, 307, 308, 408, 425, 429, 500, 502, 503, 504, 599} {
		t.Run(fmt.Sprint(code), func(t *testing.T) {
			log := openLog(t, t.TempDir())
			var open atomic.Bool
			r := receive(t, func(w http.ResponseWriter, _ *http.Request, e event.Event) {
				if e.Sequence == 1 && !open.Load() {
					w.Header().Set("Location", "/elsewhere") // is never followed
					w.WriteHeader(code)
				}
			})
			p := runWith(t, Config{Log: log, Dir: t.TempDir(), Attempts: 1 << 30}, r.subscriber("all"))
			last := publish(t, log, "a", "a", "b", "c", "b")
			wait.Nil(t, "the other subjects", func() error {
				if got := r.got(); len(got) < 3 {
					return fmt.Errorf("got %d", got)
				}
				return nil
			})
			s := p.wantStatus("all", "refusing", func(s Status) bool { return s.LastError != "" })
			if s.Cursor != 0 || s.State != "up" || s.Lag != uint64(last) || !strings.HasPrefix(s.LastError, fmt.Sprintf("event 1: %d", code)) {
				t.Errorf("the subscriber is %+v", s)
			}
			r.wantEach(3, 4, 5)
			open.Store(true)
			p.wantCursor("all", last)
			r.wantAll(1, last)
			r.wantOneAtATime()
		})
	}
}

func TestEventIsGivenUpAfterTwentyAttempts(t *testing.T) {
	t.Parallel()
	log, dir := openLog(t, t.TempDir()), t.TempDir()
	r := receive(t, func(w http.ResponseWriter, _ *http.Request, e event.Event) {
		if e.Sequence == 2 {
			w.WriteHeader(http.StatusServiceUnavailable)
			w.Write([]byte("no room" + strings.Repeat("!", 1000)))
		}
	})
	last := publish(t, log, "a", "a", "a")
	p := run(t, log, dir, r.subscriber("all"))
	s := p.wantCursor("all", last)
	attempts := map[event.Sequence]int{}
	for _, q := range r.arrivals() {
		attempts[q]++
	}
	// The first refusal blames nobody; before each of the others the event before it is sent once more.
	if want := map[event.Sequence]int{1: 1 + 20, 2: 1 + 20, 3: 1}; !maps.Equal(attempts, want) {
		t.Errorf("the attempts of each event are %v, want %v", attempts, want)
	}
	check := func(s Status) {
		t.Helper()
		if s.DeadLetterCount != 1 || len(s.DeadLetters) != 1 {
			t.Fatalf("the subscriber is %+v", s)
		}
		letter := s.DeadLetters[0]
		if letter.Sequence != 2 || letter.Attempts != 20 || letter.Status != 503 || !strings.HasPrefix(letter.Answer, "no room!") || len(letter.Answer) != answerBytes ||
			letter.ID == "" || time.Since(letter.Time) > time.Minute || letter.Event != nil {
			t.Errorf("the dead letter is %+v", letter)
		}
	}
	check(s)

	t.Run("it is kept on disk with its event", func(t *testing.T) {
		text, err := os.ReadFile(filepath.Join(dir, "all.dead.ndjson"))
		if err != nil {
			t.Fatal(err)
		}
		var letter DeadLetter
		if err := json.Unmarshal(text, &letter); err != nil {
			t.Fatalf("%v in %s", err, text)
		}
		if head, ok := event.ReadLine(letter.Event); !ok || head.Sequence() != 2 || string(head.ID()) != letter.ID {
			t.Errorf("the event is %s", letter.Event)
		}
	})
	t.Run("and listed after a restart", func(t *testing.T) {
		p.stop()
		check(run(t, log, dir, r.subscriber("all")).status("all"))
	})
}

func TestEventIsGivenUpAtOnceWhenNoRepetitionHelps(t *testing.T) {
	t.Parallel()
	for _, code := range []int{400, 401, 404, 405, 413, 415, 422, 451} {
		t.Run(fmt.Sprint(code), func(t *testing.T) {
			log := openLog(t, t.TempDir())
			r := receive(t, func(w http.ResponseWriter, _ *http.Request, e event.Event) {
				if e.Sequence == 1 {
					w.WriteHeader(code)
				}
			})
			p := run(t, log, t.TempDir(), r.subscriber("all"))
			last := publish(t, log, "a", "a")
			s := p.wantCursor("all", last)
			if s.DeadLetterCount != 1 || s.DeadLetters[0].Sequence != 1 || s.DeadLetters[0].Status != code || s.DeadLetters[0].Attempts != 1 {
				t.Errorf("the subscriber is %+v", s)
			}
			if got := r.arrivals(); !slices.Equal(got, []event.Sequence{1, 2}) {
				t.Errorf("the attempts were %d", got)
			}
		})
	}
}

func TestRetryAfterIsObeyed(t *testing.T) {
	t.Parallel()
	log := openLog(t, t.TempDir())
	times := make(chan time.Time, 2)
	r := receive(t, func(w http.ResponseWriter, _ *http.Request, _ event.Event) {
		if times <- time.Now(); len(times) == 1 {
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusTooManyRequests)
		}
	})
	p := run(t, log, t.TempDir(), r.subscriber("all"))
	publish(t, log, "a")
	p.wantCursor("all", 1)
	if first, second := <-times, <-times; second.Sub(first) < time.Second {
		t.Errorf("it was tried again after %v", second.Sub(first))
	}
}

func TestRetryAfterIsReadAsItMayBeWritten(t *testing.T) {
	now := time.Date(2026, 11, 20, 15, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		"": 0, "0": 0, "7": 7 * time.Second, "-7": 0, "1e3": 0, "soon": 0, "9999999999999": mostRetryAfter, "99999999999999999999999": 0, "1200": mostRetryAfter,
		"Fri, 20 Nov 2026 15:00:30 GMT": 30 * time.Second, "Fri, 20 Nov 2026 14:00:00 GMT": 0, "Sat, 21 Nov 2026 15:00:00 GMT": mostRetryAfter,
		"Friday, 20-Nov-26 15:00:05 GMT": 5 * time.Second,
	} {
		if got := retryAfter(text, now); got != want {
			t.Errorf("Retry-After: %s is %v, want %v", text, got, want)
		}
	}
}

func TestBackoffGrowsAndIsBounded(t *testing.T) {
	b := backoff{first: 100 * time.Millisecond, most: 30 * time.Second}
	for n := range 200 {
		full := 30 * time.Second
		if n < 9 {
			full = min(full, 100*time.Millisecond<<n)
		}
		for range 50 {
			if wait := b.wait(n); wait < full/2 || wait > full {
				t.Fatalf("after %d failures the wait is %v, want %v to %v", n, wait, full/2, full)
			}
		}
	}
}

func TestTimeOutCountsWhenOthersGetThrough(t *testing.T) {
	t.Parallel()
	log := openLog(t, t.TempDir())
	r := receive(t, func(_ http.ResponseWriter, request *http.Request, e event.Event) {
		if e.Sequence == 1 {
			<-request.Context().Done()
		}
	})
	sub := r.subscriber("all")
	sub.Timeout = Duration(150 * time.Millisecond)
	p := runWith(t, Config{Log: log, Dir: t.TempDir(), Attempts: 3}, sub)
	last := publish(t, log, "a", "a")
	s := p.wantStatus("all", "rid of event 1", func(s Status) bool {
		last = publish(t, log, "b")
		return s.DeadLetterCount == 1
	})
	if letter := s.DeadLetters[0]; letter.Sequence != 1 || letter.Attempts != 3 || letter.Status != 0 || letter.Answer != "no answer within 150ms" {
		t.Errorf("the dead letter is %+v", letter)
	}
	p.wantCursor("all", last)
	r.wantAll(2, last)
}

// An event that makes its subscriber crash looks like a subscriber that is
// down, each time, and takes with it what is under way beside it.
func TestEventThatKillsItsSubscriberBecomesADeadLetter(t *testing.T) {
	t.Parallel()
	log := openLog(t, t.TempDir())
	var r *receiver
	crashed := make(chan struct{}, 100)
	r = receive(t, func(_ http.ResponseWriter, _ *http.Request, e event.Event) {
		if e.Subject == "poison" && e.Sequence == 1 {
			r.stop()
			crashed <- struct{}{}
			panic(http.ErrAbortHandler)
		}
		time.Sleep(time.Millisecond) // its work, in the middle of which it is killed
	})
	supervised := make(chan struct{})
	go func() { // starts it again, as Kubernetes does
		defer close(supervised)
		for range crashed {
			r.start()
		}
	}()
	p := runWith(t, Config{Log: log, Dir: t.TempDir(), Attempts: 5}, r.subscriber("all"))
	last := publish(t, log, append([]string{"poison", "poison"}, subjects(100, 20)...)...)
	s := p.wantStatus("all", "rid of the poison", func(s Status) bool {
		last = publish(t, log, subjects(2, 2)...)
		return s.DeadLetterCount > 0
	})
	if s.DeadLetterCount != 1 || s.DeadLetters[0].Sequence != 1 || s.DeadLetters[0].Attempts != 5 {
		t.Errorf("the subscriber is %+v", s)
	}
	p.wantCursor("all", last)
	p.stop()
	close(crashed)
	<-supervised
	r.wantAll(2, last)
}

func TestBrokenSubscriberSlowsNobodyElse(t *testing.T) {
	t.Parallel()
	log := openLog(t, t.TempDir())
	never := receive(t, func(_ http.ResponseWriter, request *http.Request, _ event.Event) { <-request.Context().Done() })
	failing := receive(t, func(w http.ResponseWriter, _ *http.Request, _ event.Event) { w.WriteHeader(500) })
	good := receive(t, nil)
	nobody, err := net.Listen("tcp", "127.0.0.1:0") // takes connections and no requests
	if err != nil {
		t.Fatal(err)
	}
	defer nobody.Close()
	p := runWith(t, Config{Log: log, Dir: t.TempDir(), FirstBackoff: time.Minute, MostBackoff: time.Minute},
		never.subscriber("never"), failing.subscriber("failing"), Subscriber{Name: "nobody", URL: "http://" + nobody.Addr().String()}, good.subscriber("good"))
	var last event.Sequence
	for i := range 50 {
		last = publish(t, log, fmt.Sprint("s", i)) // returns, whoever is broken
	}
	p.wantCursor("good", last)
	good.wantAll(1, last)
	for _, name := range []string{"never", "failing", "nobody"} {
		if s := p.status(name); s.Cursor != 0 || s.Lag != 50 {
			t.Errorf("%s is %+v", name, s)
		}
	}
}

func TestSubscriberThatAskedToStopGetsNothingUntilAReplay(t *testing.T) {
	t.Parallel()
	log, dir := openLog(t, t.TempDir()), t.TempDir()
	var stopped atomic.Bool
	r := receive(t, func(w http.ResponseWriter, _ *http.Request, e event.Event) {
		if stopped.Load() {
			w.WriteHeader(http.StatusGone)
		}
	})
	publish(t, log, "a", "b")
	p := run(t, log, dir, r.subscriber("all"))
	p.wantCursor("all", 2)
	stopped.Store(true)
	publish(t, log, "a")
	s := p.wantStatus("all", "stopped", func(s Status) bool { return s.State == "stopped" })
	stopped.Store(false)
	if s.Cursor != 2 || s.DeadLetterCount != 0 || !strings.HasPrefix(s.LastError, "event 3: 410") {
		t.Errorf("the subscriber is %+v", s)
	}
	last := publish(t, log, "b", "c")
	p.stop()
	p = run(t, log, dir, r.subscriber("all")) // a restart does not forget it
	if s := p.status("all"); s.State != "stopped" || s.Cursor != 2 || s.Lag != 3 {
		t.Errorf("after a restart the subscriber is %+v", s)
	}
	if got := r.arrivals(); !slices.Equal(got[2:], []event.Sequence{3}) {
		t.Errorf("after it asked to stop it got %d", got[2:])
	}
	if _, err := p.Replay(t.Context(), "all", 2, false); err != nil {
		t.Fatal(err)
	}
	if s := p.wantCursor("all", last); s.State != "up" {
		t.Errorf("the subscriber is %+v", s)
	}
	r.wantAll(1, last)
}

func TestDeadLetterThatCannotBeWrittenHoldsItsEvent(t *testing.T) {
	t.Parallel()
	log, dir := openLog(t, t.TempDir()), t.TempDir()
	r := receive(t, func(w http.ResponseWriter, _ *http.Request, e event.Event) {
		if e.Subject == "bad" {
			w.WriteHeader(http.StatusBadRequest)
		}
	})
	p := run(t, log, dir, r.subscriber("all"))
	inTheWay := filepath.Join(dir, "all.dead.ndjson")
	if err := os.Mkdir(inTheWay, 0o755); err != nil { // a disk that refuses to write
		t.Fatal(err)
	}
	last := publish(t, log, "good", "bad", "bad", "good")
	wait.Nil(t, "some attempts", func() error {
		if n := len(r.arrivals()); n < 8 {
			return fmt.Errorf("%d", n)
		}
		return nil
	})
	if s := p.status("all"); s.Cursor != 1 || s.DeadLetterCount != 0 {
		t.Errorf("the subscriber is %+v", s)
	}
	r.wantOnce(1, 4)
	p.stop()
	if _, err := New(Config{Log: log, Dir: dir, Logger: quiet}, []Subscriber{r.subscriber("all")}); err == nil {
		t.Error("dead letters that cannot be read are passed over")
	}
	os.Remove(inTheWay)
	p = run(t, log, dir, r.subscriber("all"))
	if s := p.wantCursor("all", last); s.DeadLetterCount != 2 {
		t.Errorf("the subscriber is %+v", s)
	}
}
