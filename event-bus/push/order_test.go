package push

import (
	"fmt"
	"net/http"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"miniblog/internal/event"
)

func TestSubjectsAreServedSideBySideAndEachInOrder(t *testing.T) {
	t.Parallel()
	log := openLog(t, t.TempDir())
	var inside atomic.Int32
	all := make(chan struct{}) // closed when 16 are under way at once
	r := receive(t, func(_ http.ResponseWriter, request *http.Request, _ event.Event) {
		if inside.Add(1) == 16 {
			close(all)
		}
		select {
		case <-all:
		case <-request.Context().Done():
		}
	})
	last := publish(t, log, subjects(600, 40)...)
	p := run(t, log, t.TempDir(), r.subscriber("all"))
	r.wantAll(1, last)
	s := p.wantCursor("all", last)
	if s.State != "up" || s.Lag != 0 || !s.Ordered || s.DeadLetterCount != 0 || s.LastError != "" {
		t.Errorf("the subscriber is %+v", s)
	}
	if r.most != 16 {
		t.Errorf("%d were under way at once, want 16", r.most)
	}
	if n := len(r.got()); n != int(last) {
		t.Errorf("%d deliveries of %d events", n, last)
	}
	r.wantOneAtATime()
}

func TestEventsWithoutASubjectAreOneLane(t *testing.T) {
	t.Parallel()
	log := openLog(t, t.TempDir())
	r := receive(t, answers(503))
	last := publish(t, log, make([]string, 50)...)
	run(t, log, t.TempDir(), r.subscriber("all"))
	r.wantAll(1, last)
	if r.most != 1 {
		t.Errorf("%d were under way at once", r.most)
	}
}

func TestUnorderedEventsOfOneSubjectGoSideBySide(t *testing.T) {
	t.Parallel()
	log := openLog(t, t.TempDir())
	var inside atomic.Int32
	all := make(chan struct{})
	r := receive(t, func(_ http.ResponseWriter, request *http.Request, _ event.Event) {
		if inside.Add(1) == 16 {
			close(all)
		}
		select {
		case <-all:
		case <-request.Context().Done():
		}
	})
	last := publish(t, log, subjects(100, 1)...)
	unordered := r.subscriber("all")
	unordered.Ordered = new(bool)
	p := run(t, log, t.TempDir(), unordered)
	if s := p.wantCursor("all", last); s.Ordered {
		t.Errorf("the subscriber is %+v", s)
	}
	if r.most != 16 || len(r.got()) != int(last) {
		t.Errorf("%d were under way at once, %d deliveries", r.most, len(r.got()))
	}
}

func TestSubscriberGetsTheTypesItAskedFor(t *testing.T) {
	t.Parallel()
	log := openLog(t, t.TempDir())
	r := receive(t, nil)
	p := run(t, log, t.TempDir(), r.subscriber("some", "A", "C"))
	for range 3 {
		publishType(t, log, "A", "x")
		publishType(t, log, "B", "x")
	}
	last := publishType(t, log, "C", "y")
	publishType(t, log, "B", "y", "z")
	s := p.wantCursor("some", last+2)
	r.wantOnce(1, 3, 5, 7)
	if fmt.Sprint(s.Types) != "[A C]" {
		t.Errorf("the subscriber is %+v", s)
	}
}

func TestSubscriberGetsTheEnvelopeAsTheLogHasIt(t *testing.T) {
	t.Parallel()
	log := openLog(t, t.TempDir())
	r := receive(t, nil)
	run(t, log, t.TempDir(), r.subscriber("all"))
	publish(t, log, "post")
	r.wantAll(1, 1)
	e := r.taken[0]
	if e.SpecVersion != "1.0" || e.ID == "" || e.Source != "/test" || e.Type != "T" || e.Subject != "post" || e.Time == "" || string(e.Data) != `{"id":"post"}` {
		t.Errorf("got %+v", e)
	}
}

func TestNewSubscriberGetsAllHistoryAndThenWhatComes(t *testing.T) {
	t.Parallel()
	log := openLog(t, t.TempDir())
	for range 10 {
		publish(t, log, subjects(1000, 100)...)
	}
	r := receive(t, nil)
	p := run(t, log, t.TempDir(), r.subscriber("late"))
	for log.Last() < 10_050 {
		publish(t, log, "s7")
	}
	p.wantCursor("late", 10_050)
	r.wantAll(1, 10_050)
	if n := len(r.got()); n != 10_050 {
		t.Errorf("%d deliveries", n)
	}
	r.wantOneAtATime()
}

func TestNewSubscriberFromNowGetsWhatComes(t *testing.T) {
	t.Parallel()
	log, dir := openLog(t, t.TempDir()), t.TempDir()
	publish(t, log, subjects(5, 2)...)
	r := receive(t, nil)
	now := r.subscriber("now")
	now.From = "now"
	p := run(t, log, dir, now)
	publish(t, log, "a")
	p.wantCursor("now", 6)
	r.wantOnce(6)

	p.stop()
	publish(t, log, "b") // now was when it was new, not when the bus started
	p = run(t, log, dir, now)
	p.wantCursor("now", 7)
	r.wantOnce(6, 7)
}

// The course's services are Express: the body's type and data, {} for an
// answer, no answer at all to a type that is not known, and a crash now and then.
func TestSubscriberLikeTheCourses(t *testing.T) {
	t.Parallel()
	log := openLog(t, t.TempDir())
	var failed, died atomic.Bool
	var express *receiver
	ready := make(chan struct{})
	express = receive(t, func(w http.ResponseWriter, request *http.Request, e event.Event) {
		<-ready
		switch {
		case e.Type == "Unknown":
			<-request.Context().Done()
		case e.Sequence == 20 && !failed.Swap(true):
			w.WriteHeader(http.StatusInternalServerError)
		case e.Sequence == 30 && !died.Swap(true):
			express.stop()
			express.start()
			panic(http.ErrAbortHandler)
		default:
			w.Write([]byte("{}"))
		}
	})
	close(ready)
	other := receive(t, nil)
	course := express.subscriber("express")
	course.Timeout = Duration(250 * time.Millisecond)
	for i := range 60 {
		if publish(t, log, fmt.Sprint("s", i%9)); i%20 == 0 {
			publishType(t, log, "Unknown", "unknown")
		}
	}
	p := runWith(t, Config{Log: log, Dir: t.TempDir(), Attempts: 2}, course, other.subscriber("other"))
	other.wantAll(1, 63)
	n := event.Sequence(63)
	s := p.wantStatus("express", "through", func(s Status) bool {
		n = publish(t, log, "more") // a time-out counts when others get through
		return s.DeadLetterCount == 3
	})
	p.wantCursor("express", n)
	express.wantOrder()
	got := map[event.Sequence]bool{}
	for _, q := range express.got() {
		got[q] = true
	}
	for _, letter := range s.DeadLetters {
		if unknown := []event.Sequence{2, 23, 44}; got[letter.Sequence] || !slices.Contains(unknown, letter.Sequence) {
			t.Errorf("the dead letter is %+v", letter)
		}
		got[letter.Sequence] = true
	}
	for q := event.Sequence(1); q <= n; q++ {
		if !got[q] {
			t.Errorf("event %d neither was taken nor is a dead letter", q)
		}
	}
	other.wantAll(1, n)
}
