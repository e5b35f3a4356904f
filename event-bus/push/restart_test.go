package push

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"miniblog/internal/event"
	"miniblog/test/wait"
)

func TestRestartLosesNothingAndRepeatsOnlyWhatIsBeyondTheCursor(t *testing.T) {
	t.Parallel()
	log, dir := openLog(t, t.TempDir()), t.TempDir()
	var open atomic.Bool
	r := receive(t, func(w http.ResponseWriter, _ *http.Request, e event.Event) {
		if e.Sequence == 11 && !open.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	last := publish(t, log, append(subjects(10, 3), "stuck", "stuck", "a", "b", "c", "stuck", "a")...)
	p := runWith(t, Config{Log: log, Dir: dir, Attempts: 1 << 30}, r.subscriber("all"))
	wait.Nil(t, "the other subjects", func() error {
		if n := len(r.got()); n < 14 {
			return fmt.Errorf("%d", n)
		}
		return nil
	})
	p.stop()
	r.wantEach(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 13, 14, 15, 17)

	r.forget()
	open.Store(true)
	p = run(t, log, dir, r.subscriber("all"))
	p.wantCursor("all", last)
	r.wantOnce(11, 12, 13, 14, 15, 16, 17) // 13 to 15 and 17 for the second time: the cursor stood before 11
	p.stop()

	r.forget()
	publish(t, log, "a")
	p = run(t, log, dir, r.subscriber("all"))
	p.wantCursor("all", last+1)
	r.wantOnce(last + 1)
}

// Every cursor that was ever on disk is one that a crash could leave behind.
func TestCursorOnDiskNeverLeadsTheDeliveries(t *testing.T) {
	t.Parallel()
	log, dir := openLog(t, t.TempDir()), t.TempDir()
	r := receive(t, func(w http.ResponseWriter, _ *http.Request, _ event.Event) {
		switch rand.N(10) {
		case 0:
			w.WriteHeader(http.StatusServiceUnavailable)
		case 1:
			panic(http.ErrAbortHandler)
		}
	})
	position := newFileStore(dir, "all")
	last := publish(t, log, subjects(400, 12)...)
	for range 6 {
		p := runWith(t, Config{Log: log, Dir: dir, Attempts: 1 << 30}, r.subscriber("all"))
		before, target := len(r.got()), min(len(r.got())+60, int(last))
		wait.Nil(t, "some deliveries", func() error {
			saved, _, err := position.Load(ignore)
			if err != nil {
				return err
			}
			r.wantTaken(saved.Cursor)
			if n := len(r.got()); n < target {
				return fmt.Errorf("%d, %d before", n, before)
			}
			return nil
		})
		p.stop()
		saved, _, err := position.Load(ignore)
		if err != nil {
			t.Fatal(err)
		}
		r.wantTaken(saved.Cursor)
	}
	p := runWith(t, Config{Log: log, Dir: dir, Attempts: 1 << 30}, r.subscriber("all"))
	p.wantCursor("all", last)
	r.wantAll(1, last)
	r.wantOneAtATime()
}

// wantTaken checks that everything up to a cursor was taken.
func (r *receiver) wantTaken(cursor event.Sequence) {
	r.t.Helper()
	there := map[event.Sequence]bool{}
	for _, q := range r.got() {
		there[q] = true
	}
	for q := event.Sequence(1); q <= cursor; q++ {
		if !there[q] {
			r.t.Fatalf("the cursor is at %d, and event %d was not taken", cursor, q)
		}
	}
}

func TestStopLetsDeliveriesUnderWayFinish(t *testing.T) {
	t.Parallel()
	log, dir := openLog(t, t.TempDir()), t.TempDir()
	entered, leave := make(chan struct{}), make(chan struct{})
	r := receive(t, func(http.ResponseWriter, *http.Request, event.Event) {
		entered <- struct{}{}
		<-leave
	})
	publish(t, log, "a", "b", "a")
	p := run(t, log, dir, r.subscriber("all"))
	<-entered
	<-entered
	stopped := make(chan struct{})
	go func() { p.stop(); close(stopped) }()
	close(leave)
	<-stopped
	r.wantOnce(1, 2)
	if saved, _, err := newFileStore(dir, "all").Load(ignore); saved.Cursor != 2 || err != nil {
		t.Errorf("the cursor is at %d, %v", saved.Cursor, err)
	}
}

func TestStopDoesNotWaitForASubscriberThatIsDownOrHangs(t *testing.T) {
	t.Parallel()
	log := openLog(t, t.TempDir())
	hangs := receive(t, func(_ http.ResponseWriter, request *http.Request, _ event.Event) { <-request.Context().Done() })
	down := receive(t, nil)
	down.stop()
	publish(t, log, "a", "b")
	p := runWith(t, Config{Log: log, Dir: t.TempDir(), FirstBackoff: time.Hour, MostBackoff: time.Hour}, hangs.subscriber("hangs"), down.subscriber("down"))
	p.wantStatus("down", "down", func(s Status) bool { return s.State == "down" })
	wait.Nil(t, "two requests", func() error {
		if n := len(hangs.arrivals()); n < 2 {
			return fmt.Errorf("%d", n)
		}
		return nil
	})
	stopped := make(chan struct{})
	go func() { p.stop(); close(stopped) }()
	select {
	case <-stopped:
	case <-time.After(8 * time.Second): // the service's own limit; the subscriber's is 10 s
		t.Fatal("it is still not stopped")
	}
	if _, err := p.List(t.Context()); err != ErrStopped {
		t.Errorf("a list of what has stopped gives %v", err)
	}
}

func TestAnotherLogIsDeliveredFromItsStart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := receive(t, nil)
	first := openLog(t, t.TempDir())
	publish(t, first, subjects(5, 2)...)
	p := run(t, first, dir, r.subscriber("all"))
	p.wantCursor("all", 5)
	p.stop()

	r.forget()
	second := openLog(t, t.TempDir())
	last := publish(t, second, subjects(8, 2)...)
	p = run(t, second, dir, r.subscriber("all"))
	p.wantCursor("all", last)
	r.wantOnce(1, 2, 3, 4, 5, 6, 7, 8)
}

// As after a backup of the log was restored and the cursors were not.
func TestLogThatEndsBeforeTheCursorGoesOnFromItsEnd(t *testing.T) {
	t.Parallel()
	log, dir := openLog(t, t.TempDir()), t.TempDir()
	r := receive(t, nil)
	publish(t, log, "a", "b")
	if err := newFileStore(dir, "all").Save(Position{Log: log.ID(), Cursor: 50}); err != nil {
		t.Fatal(err)
	}
	p := run(t, log, dir, r.subscriber("all"))
	if s := p.status("all"); s.Cursor != 2 || s.Lag != 0 {
		t.Errorf("the subscriber is %+v", s)
	}
	publish(t, log, "c")
	p.wantCursor("all", 3)
	r.wantOnce(3)
}

func TestCursorThatCannotBeReadStopsTheStart(t *testing.T) {
	t.Parallel()
	log, dir := openLog(t, t.TempDir()), t.TempDir()
	file := filepath.Join(dir, "all.json")
	for _, text := range []string{"", "{", "[]", `{"log":1}`, `{"log":"x","cursor":"y"}`, `{"log":"x"}{}`} {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		_, err := New(Config{Log: log, Dir: dir, Logger: quiet}, []Subscriber{{Name: "all", URL: "http://localhost:1"}})
		if err == nil || !strings.Contains(err.Error(), "the cursor of subscriber all cannot be read (remove "+file+" to deliver all events again)") {
			t.Errorf("%q gives %v", text, err)
		}
	}
}

// A bad disk must not let events be passed over, and mending it must not take
// anything from anybody.
func TestEventThatCannotBeReadIsNotPassedOver(t *testing.T) {
	t.Parallel()
	logDir, dir := t.TempDir(), t.TempDir()
	log := openLog(t, logDir)
	publish(t, log, subjects(20, 5)...)
	publish(t, log, subjects(20, 5)...)
	publish(t, log, subjects(20, 5)...)
	log.Close()
	log = openLog(t, logDir) // what it has now is on disk only

	segments, err := filepath.Glob(filepath.Join(logDir, "*.zst"))
	if err != nil || len(segments) != 1 {
		t.Fatalf("the log has the segments %v, %v", segments, err)
	}
	whole, err := os.ReadFile(segments[0])
	if err != nil {
		t.Fatal(err)
	}
	damaged := bytes.Clone(whole)
	damaged[len(damaged)/2] ^= 1 // in the second batch
	if err := os.WriteFile(segments[0], damaged, 0o644); err != nil {
		t.Fatal(err)
	}

	behind, ahead := receive(t, nil), receive(t, nil)
	now := ahead.subscriber("ahead")
	now.From = "now"
	p := run(t, log, dir, behind.subscriber("behind"), now)
	s := p.wantStatus("behind", "broken", func(s Status) bool { return s.State == "broken" && s.Cursor == 20 })
	if !strings.Contains(s.LastError, filepath.Base(segments[0])) || !strings.Contains(s.LastError, "event 21") {
		t.Errorf("the subscriber is %+v", s)
	}
	last := publish(t, log, "x")
	p.wantCursor("ahead", last)
	ahead.wantOnce(last)

	if err := os.WriteFile(segments[0], append(whole, readEnd(t, segments[0], len(whole))...), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Replay(t.Context(), "behind", s.Cursor, false); err != nil {
		t.Fatal(err)
	}
	p.wantCursor("behind", last)
	behind.wantAll(1, last)
}

func readEnd(t testing.TB, file string, from int) []byte {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return text[from:]
}

// A subscriber to a rare type passes over a long history; who asks for it
// meanwhile, or stops the bus, must not wait until it is through.
func TestLongHistoryOfOtherTypesHoldsUpNobody(t *testing.T) {
	t.Parallel()
	log := openLog(t, t.TempDir())
	for range 100 {
		publishType(t, log, "Other", subjects(10, 10)...)
	}
	p, err := New(Config{Log: log, Dir: t.TempDir(), Logger: quiet}, []Subscriber{{Name: "rare", URL: "http://localhost:1", Types: []string{"Rare"}}})
	if err != nil {
		t.Fatal(err)
	}
	d := p.seats[0].get()
	var at event.Sequence
	d.commands = make(chan func(), 1) // asked before it starts
	d.commands <- func() { at = d.status().Cursor }
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go p.Run(ctx)
	wait.Nil(t, "the end of the log", func() error {
		list, err := p.List(ctx)
		if err == nil && list[0].Cursor != log.Last() {
			err = fmt.Errorf("it is at %d", list[0].Cursor)
		}
		return err
	})
	cancel()
	<-p.stopped
	if at == log.Last() {
		t.Error("the whole log was read before a question was answered")
	}
}

func TestSubscribersAreAddedAndRemoved(t *testing.T) {
	t.Parallel()
	log, dir := openLog(t, t.TempDir()), t.TempDir()
	one, two := receive(t, nil), receive(t, nil)
	last := publish(t, log, "a", "b")
	p := run(t, log, dir, one.subscriber("one"))
	p.wantCursor("one", last)
	p.stop()
	p = run(t, log, dir, two.subscriber("two"))
	p.wantCursor("two", last)
	p.stop()
	one.forget()
	last = publish(t, log, "c")
	p = run(t, log, dir, one.subscriber("one"), two.subscriber("two"))
	p.wantCursor("one", last)
	p.wantCursor("two", last)
	one.wantOnce(3) // it is known, though it was away
}
