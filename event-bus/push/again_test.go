package push

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"miniblog/internal/event"
	"miniblog/test/wait"
)

// rejecting returns a receiver that answers some events with a status until it is
// cured.
func rejecting(t *testing.T, codes map[event.Sequence]int) (r *receiver, cured *atomic.Bool) {
	t.Helper()
	cured = &atomic.Bool{}
	r = receive(t, func(w http.ResponseWriter, _ *http.Request, e event.Event) {
		if code := codes[e.Sequence]; code != 0 && !cured.Load() {
			w.WriteHeader(code)
			fmt.Fprintf(w, "no to %d", e.Sequence)
		}
	})
	return r, cured
}

// dead returns the sequences of all dead letters of a subscriber, read page by
// page.
func (r *running) dead(name string, limit int) (list []event.Sequence) {
	r.t.Helper()
	for more := true; more; {
		var after event.Sequence
		if len(list) > 0 {
			after = list[len(list)-1]
		}
		var page []DeadLetter
		var err error
		page, more, err = r.DeadLetters(r.t.Context(), name, after, "", limit)
		if err != nil || more && len(page) != limit {
			r.t.Fatalf("a page has %d dead letters, %v", len(page), err)
		}
		for _, letter := range page {
			list = append(list, letter.Sequence)
			if e, err := event.ParseLine(letter.Event); err != nil || e.ID != letter.ID || e.Sequence != letter.Sequence {
				r.t.Errorf("dead letter %d has the event %.100q, %v", letter.Sequence, letter.Event, err)
			}
		}
	}
	return list
}

func (r *running) wantDead(name string, want ...event.Sequence) {
	r.t.Helper()
	if got := r.dead(name, 2); !slices.Equal(got, want) {
		r.t.Errorf("the dead letters are %d, want %d", got, want)
	}
	s := r.status(name)
	if s.DeadLetterCount != len(want) || len(s.DeadLetters) != len(want) {
		r.t.Errorf("listed are %d of %d dead letters, want %d", len(s.DeadLetters), s.DeadLetterCount, len(want))
	}
}

func (r *running) redeliver(name string, s Selection, dryRun bool) Redelivery {
	r.t.Helper()
	result, err := r.Redeliver(r.t.Context(), name, s, dryRun)
	if err != nil {
		r.t.Fatal(err)
	}
	return result
}

func TestDeadLetterThatIsDeliveredAgainLeavesTheList(t *testing.T) {
	t.Parallel()
	log, dir := openLog(t, t.TempDir()), t.TempDir()
	r, cured := rejecting(t, map[event.Sequence]int{2: 422, 5: 422, 6: 400, 9: 422})
	last := publish(t, log, subjects(10, 3)...)
	p := run(t, log, dir, r.subscriber("all"))
	p.wantCursor("all", last)
	p.wantDead("all", 2, 5, 6, 9)

	if got := p.redeliver("all", Selection{Sequence: 5}, false); got.GivenUp != 1 || got.Delivered+got.Waiting != 0 {
		t.Errorf("one that is refused again gives %+v", got)
	}
	p.wantDead("all", 2, 5, 6, 9)
	cured.Store(true)
	r.forget()
	for _, test := range []struct {
		s           Selection
		matched     int
		first, last event.Sequence
	}{{Selection{Reason: "422"}, 3, 2, 9}, {Selection{Reason: "422", From: 3}, 2, 5, 9}, {Selection{From: 6}, 2, 6, 9}, {Selection{From: 10}, 0, 0, 0}, {Selection{Sequence: 6}, 1, 6, 6}} {
		want := Redelivery{DryRun: true, Matched: test.matched, First: test.first, Last: test.last, State: "up"}
		if got := p.redeliver("all", test.s, true); got != want {
			t.Errorf("%+v would give %+v, want %+v", test.s, got, want)
		}
	}
	p.wantDead("all", 2, 5, 6, 9)
	if len(r.arrivals()) > 0 {
		t.Errorf("a dry run delivered %d", r.arrivals())
	}

	if got, want := p.redeliver("all", Selection{Sequence: 5}, false), (Redelivery{Matched: 1, First: 5, Last: 5, Delivered: 1, State: "up"}); got != want {
		t.Errorf("one gives %+v, want %+v", got, want)
	}
	p.wantDead("all", 2, 6, 9)
	if _, err := p.Redeliver(t.Context(), "all", Selection{Sequence: 5}, false); !errors.Is(err, ErrNoLetter) {
		t.Errorf("once more gives %v", err)
	}
	if got := p.redeliver("all", Selection{Reason: "422"}, false); got.Delivered != 2 {
		t.Errorf("all of a reason give %+v", got)
	}
	p.wantDead("all", 6)
	r.wantOnce(2, 5, 9)
	if s := p.status("all"); s.Cursor != last {
		t.Errorf("the cursor is %d", s.Cursor)
	}
	p.stop()
	p = run(t, log, dir, r.subscriber("all"))
	p.wantDead("all", 6)
	if got := p.redeliver("all", Selection{From: 1}, false); got.Delivered != 1 {
		t.Errorf("all there are give %+v", got)
	}
	p.wantDead("all")
}

func TestDeadLettersAreDeliveredAgainInOrderAndOneAtATime(t *testing.T) {
	t.Parallel()
	log := openLog(t, t.TempDir())
	codes := map[event.Sequence]int{}
	for q := event.Sequence(1); q <= 200; q += 2 {
		codes[q] = 422
	}
	r, cured := rejecting(t, codes)
	publish(t, log, subjects(200, 7)...)
	p := run(t, log, t.TempDir(), r.subscriber("all"))
	p.wantCursor("all", 200)
	cured.Store(true)
	r.forget()
	result := make(chan Redelivery, 1)
	go func() {
		got, _ := p.Redeliver(t.Context(), "all", Selection{Reason: "422"}, false)
		result <- got
	}()
	last := publish(t, log, subjects(200, 7)...) // beside new events
	p.wantCursor("all", last)
	if got := <-result; got.Delivered+got.Waiting != 100 {
		t.Errorf("got %+v", got)
	}
	p.wantStatus("all", "without dead letters", func(s Status) bool { return s.DeadLetterCount == 0 })
	r.wantOneAtATime()
	newest := map[string]event.Sequence{}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.taken {
		if e.Sequence <= 200 && e.Sequence < newest[e.Subject] {
			t.Errorf("event %d of subject %s came again after event %d", e.Sequence, e.Subject, newest[e.Subject])
		}
		if e.Sequence <= 200 {
			newest[e.Subject] = e.Sequence
		}
	}
}

func TestRedeliveryWaitsForASubscriberThatIsDown(t *testing.T) {
	t.Parallel()
	log := openLog(t, t.TempDir())
	r, cured := rejecting(t, map[event.Sequence]int{2: 422, 3: 422})
	publish(t, log, subjects(4, 2)...)
	p := run(t, log, t.TempDir(), r.subscriber("all"))
	p.wantCursor("all", 4)
	cured.Store(true)
	r.stop()
	if got := p.redeliver("all", Selection{From: 1}, false); got.Waiting != 2 || got.State != "down" {
		t.Errorf("got %+v", got)
	}
	r.start()
	p.wantStatus("all", "without dead letters", func(s Status) bool { return s.DeadLetterCount == 0 && s.State == "up" })

	t.Run("and for none that asked to stop", func(t *testing.T) {
		r, _ := rejecting(t, map[event.Sequence]int{1: 422, 2: 410})
		p := run(t, log, t.TempDir(), r.subscriber("all"))
		p.wantStatus("all", "stopped", func(s Status) bool { return s.State == "stopped" && s.DeadLetterCount == 1 })
		if _, err := p.Redeliver(t.Context(), "all", Selection{From: 1}, false); !errors.Is(err, ErrAskedToStop) {
			t.Errorf("got %v", err)
		}
	})
}

// A dead letter that is alone in the window was no reason to find out whether the
// subscriber takes anything, and would have been tried for ever.
func TestDeadLetterThatIsRefusedAgainIsGivenUpAgain(t *testing.T) {
	t.Parallel()
	log := openLog(t, t.TempDir())
	r, _ := rejecting(t, map[event.Sequence]int{2: 500})
	publish(t, log, subjects(3, 3)...)
	p := runWith(t, Config{Log: log, Dir: t.TempDir(), Attempts: 3}, r.subscriber("all"))
	p.wantCursor("all", 3)
	before := p.status("all").DeadLetters[0]
	if got := p.redeliver("all", Selection{Sequence: 2}, false); got.GivenUp+got.Waiting != 1 {
		t.Errorf("got %+v", got)
	}
	p.wantStatus("all", "again with its dead letter", func(s Status) bool {
		return s.DeadLetterCount == 1 && s.DeadLetters[0].Time.After(before.Time) && s.DeadLetters[0].Attempts == 3
	})
	p.wantDead("all", 2)
}

func TestReplayDeliversDeadLettersToo(t *testing.T) {
	t.Parallel()
	log := openLog(t, t.TempDir())
	var hold atomic.Bool
	leave := make(chan struct{})
	r := receive(t, func(w http.ResponseWriter, _ *http.Request, e event.Event) {
		switch {
		case hold.Load():
			<-leave
		case e.Sequence%5 == 0:
			w.WriteHeader(422)
		}
	})
	publish(t, log, subjects(20, 4)...)
	p := run(t, log, t.TempDir(), r.subscriber("all"))
	p.wantCursor("all", 20)
	p.wantDead("all", 5, 10, 15, 20)
	if s, err := p.Replay(t.Context(), "all", 12, true); err != nil || s.Cursor != 12 || s.Lag != 8 || p.status("all").Cursor != 20 {
		t.Errorf("a dry run gives %+v, %v", s, err)
	}
	hold.Store(true)
	go p.Redeliver(t.Context(), "all", Selection{From: 1}, false)
	before := len(r.arrivals())
	wait.Nil(t, "the letters to be under way", func() error {
		if n := len(r.arrivals()); n < before+4 {
			return fmt.Errorf("%d", n-before)
		}
		return nil
	})
	if _, err := p.Replay(t.Context(), "all", 12, false); err != nil {
		t.Fatal(err)
	}
	r.forget()
	close(leave) // what is taken now comes again
	p.wantStatus("all", "through", func(s Status) bool { return s.Cursor == 20 && s.DeadLetterCount == 0 })
	r.wantOneAtATime()
	r.mu.Lock()
	defer r.mu.Unlock()
	of := map[string][]event.Sequence{}
	for _, e := range r.taken {
		of[e.Subject] = append(of[e.Subject], e.Sequence)
	}
	for subject, want := range map[string]string{"s0": "[5 13 17]", "s1": "[10 14 18]", "s2": "[15 15 19]", "s3": "[20 16 20]"} {
		if got := fmt.Sprintf("%d", of[subject]); got != want {
			t.Errorf("subject %s got %s, want %s: its dead letter and then the replay", subject, got, want)
		}
	}
}

func TestNewestAttemptsAreKept(t *testing.T) {
	t.Parallel()
	log := openLog(t, t.TempDir())
	r, _ := rejecting(t, map[event.Sequence]int{2 * triesKept: 422})
	publish(t, log, subjects(2*triesKept-1, 3)...)
	p := run(t, log, t.TempDir(), Subscriber{Name: "all", URL: "http://user:secret@" + r.addr + "/events"})
	p.wantCursor("all", 2*triesKept-1)
	publish(t, log, strings.Repeat("x", 2*keptOfEvent))
	p.wantCursor("all", 2*triesKept)
	list, err := p.Attempts(t.Context(), "all")
	if err != nil || len(list) != triesKept {
		t.Fatalf("%d attempts are listed, %v", len(list), err)
	}
	a := list[0]
	if a.Sequence != 2*triesKept || a.Attempt != 1 || a.Status != 422 || a.Outcome != "rejected" || a.Answer != "no to 100" || a.MS <= 0 || time.Since(a.Began) > time.Minute {
		t.Errorf("the newest is %+v", a)
	}
	if q := a.Request; q.Method != "POST" || strings.Contains(q.URL, "secret") || q.Headers["Idempotency-Key"] != a.ID || q.Headers["Authorization"] != "" || len(q.Body) != keptOfEvent || q.Bytes < 4*keptOfEvent || !strings.HasPrefix(q.Body, `{"specversion"`) {
		t.Errorf("its request is %+v", q)
	}
	if a := list[1]; a.Outcome != "delivered" || a.Status != 200 {
		t.Errorf("the one before is %+v", a)
	}
}

func TestFileOfDeadLettersShrinks(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := newFileStore(dir, "a")
	if err := s.Save(Position{}); err != nil {
		t.Fatal(err)
	}
	letter := func(q event.Sequence) DeadLetter {
		return DeadLetter{Sequence: q, ID: fmt.Sprint(q), Event: []byte(`"` + strings.Repeat("x", 100<<10) + `"`)}
	}
	for q := event.Sequence(1); q <= 40; q++ {
		if err := s.Add(letter(q % 4)); err != nil { // each many times
			t.Fatal(err)
		}
	}
	if err := s.Remove(3); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(s.path(lettersSuffix)); err != nil || info.Size() > 310<<10 {
		t.Errorf("three dead letters of 100 KiB take %d bytes, %v", info.Size(), err)
	}
	for _, q := range []event.Sequence{0, 1, 2} {
		for _, s := range []*fileStore{s, newFileStore(dir, "a")} {
			if _, _, err := s.Load(ignore); err != nil {
				t.Fatal(err)
			}
			if got, err := s.Letter(q); err != nil || len(got.Event) != 100<<10+2 {
				t.Errorf("letter %d is %d bytes, %v", q, len(got.Event), err)
			}
		}
	}
}

// The sequences of another log mean other events.
func TestDeadLettersOfAnotherLogArePutAside(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r, cured := rejecting(t, map[event.Sequence]int{2: 422})
	log := openLog(t, t.TempDir())
	publish(t, log, subjects(3, 3)...)
	p := run(t, log, dir, r.subscriber("all"))
	p.wantCursor("all", 3)
	p.stop()
	cured.Store(true)
	other := openLog(t, t.TempDir())
	publish(t, other, subjects(3, 3)...)
	p = run(t, other, dir, r.subscriber("all"))
	p.wantCursor("all", 3)
	p.wantDead("all")
	if text, err := os.ReadFile(dir + "/all.dead." + log.ID() + ".ndjson"); err != nil || strings.Count(string(text), `"event":`) != 1 {
		t.Errorf("kept are %q, %v", text, err)
	}
}
