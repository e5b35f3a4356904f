package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"miniblog/event-bus/cluster"
	"miniblog/event-bus/cluster/natstest"
	"miniblog/event-bus/push"
	"miniblog/internal/event"
)

// lease is short, so that the tests need not wait for long.
const lease = 2 * time.Second

// copyOfBus is one of several that push the same log.
type copyOfBus struct {
	log    *cluster.Log
	pusher *push.Pusher
	stop   func() // pushing, and waits until it has stopped
}

func openPushing(t *testing.T, servers *natstest.Cluster, name string, subscribers ...push.Subscriber) *copyOfBus {
	t.Helper()
	c := &copyOfBus{log: open(t, servers, t.TempDir())}
	var err error
	c.pusher, err = push.New(push.Config{
		Log: c.log.Log, Owners: c.log.Owners(name, lease), Logger: quiet, FirstBackoff: 10 * time.Millisecond, MostBackoff: 100 * time.Millisecond,
	}, subscribers)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { c.pusher.Run(ctx); close(ended) }()
	c.stop = func() { cancel(); <-ended }
	t.Cleanup(func() {
		c.stop()
		closeLog(t, c.log)
	})
	return c
}

func (c *copyOfBus) status(t *testing.T, name string) push.Status {
	t.Helper()
	list, err := c.pusher.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return list[slices.IndexFunc(list, func(s push.Status) bool { return s.Name == name })]
}

// receiver is a subscriber that notes what it takes, and whether two events of a
// subject were under way at once.
type receiver struct {
	*httptest.Server
	reject atomic.Bool // events of type Bad

	mu      sync.Mutex
	taken   []event.Event
	now     map[string]int
	overlap bool
}

func receive(t *testing.T) *receiver {
	r := &receiver{now: map[string]int{}}
	r.Server = httptest.NewServer(r)
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	body, err := io.ReadAll(request.Body)
	if err != nil {
		return
	}
	e, err := event.ParseLine(body)
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	r.mu.Lock()
	r.now[e.Subject]++
	r.overlap = r.overlap || r.now[e.Subject] > 1
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.now[e.Subject]--
	}()
	if e.Type == "Bad" && r.reject.Load() {
		w.WriteHeader(http.StatusUnprocessableEntity)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.taken = append(r.taken, e)
}

// wantInOrder checks that each subject's events were taken in order, each at its
// first time, and one at a time.
func (r *receiver) wantInOrder(t *testing.T) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.overlap {
		t.Error("two events of a subject were under way at once")
	}
	newest, seen := map[string]event.Sequence{}, map[event.Sequence]bool{}
	for _, e := range r.taken {
		if !seen[e.Sequence] && e.Sequence < newest[e.Subject] {
			t.Errorf("event %d of subject %s came after event %d", e.Sequence, e.Subject, newest[e.Subject])
		}
		seen[e.Sequence] = true
		newest[e.Subject] = max(newest[e.Subject], e.Sequence)
	}
}

// count returns how many events were taken, and how many of them more than once.
func (r *receiver) count() (all, again int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	seen := map[event.Sequence]bool{}
	for _, e := range r.taken {
		if seen[e.Sequence] {
			again++
		}
		seen[e.Sequence] = true
	}
	return len(seen), again
}

// after returns how many events after a sequence were taken.
func (r *receiver) after(q event.Sequence) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	seen := map[event.Sequence]bool{}
	for _, e := range r.taken {
		if e.Sequence > q {
			seen[e.Sequence] = true
		}
	}
	return len(seen)
}

func (r *receiver) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.taken = nil
}

// storeOf stores an event of a type for each of n places of three subjects, at one
// copy after the other.
func storeOf(t *testing.T, copies []*copyOfBus, typ string, n int) (last event.Sequence) {
	t.Helper()
	for i := range n {
		e := event.New(event.NewID(), "/test", typ, fmt.Sprintf("s%d", i%3), map[string]int{"n": i})
		line, err := event.NewLine(&e)
		if err != nil {
			t.Fatal(err)
		}
		last = mustStore(t, copies[i%len(copies)].log, []event.Line{line})[0].Sequence
	}
	return last
}

func TestOneCopyDeliversToASubscriber(t *testing.T) {
	servers := natstest.Start(t, natstest.Options{})
	a, b := receive(t), receive(t)
	subscribers := []push.Subscriber{{Name: "a", URL: a.URL}, {Name: "b", URL: b.URL}}
	var copies []*copyOfBus
	for i := range 3 {
		copies = append(copies, openPushing(t, servers, fmt.Sprint("copy ", i), subscribers...))
	}
	owner := func(name string) (owner int) {
		t.Helper()
		waitFor(t, "an owner of "+name, func() bool {
			_, err := fmt.Sscanf(copies[0].status(t, name).Owner, "copy %d", &owner)
			return err == nil
		})
		return owner
	}
	awaitCursor := func(name string, q event.Sequence, at ...*copyOfBus) {
		t.Helper()
		for _, c := range at {
			waitFor(t, fmt.Sprintf("the cursor %d of %s at each copy", q, name), func() bool { return c.status(t, name).Cursor == q })
		}
	}
	stored := 60
	last := storeOf(t, copies, "T", stored)

	t.Run("each event once, in order, and all copies say so", func(t *testing.T) {
		for name, r := range map[string]*receiver{"a": a, "b": b} {
			awaitCursor(name, last, copies...)
			if all, again := r.count(); all != stored || again != 0 {
				t.Errorf("%s got %d of %d events, %d of them again", name, all, stored, again)
			}
			r.wantInOrder(t)
		}
	})
	t.Run("a replay may be asked for at every copy", func(t *testing.T) {
		for i, c := range copies {
			a.forget()
			if s, err := c.pusher.Replay(t.Context(), "a", last-6, false); err != nil || s.Cursor != last-6 {
				t.Fatalf("at copy %d: %+v, %v", i, s, err)
			}
			awaitCursor("a", last, copies...)
			if all, again := a.count(); all != 6 || again != 0 {
				t.Errorf("at copy %d: %d events came again, %d of them twice", i, all, again)
			}
			if _, err := c.pusher.Replay(t.Context(), "a", last+1, false); !errors.Is(err, push.ErrAhead) {
				t.Errorf("at copy %d, ahead of the cursor: %v", i, err)
			}
		}
	})
	t.Run("dead letters are listed and delivered again at every copy", func(t *testing.T) {
		a.reject.Store(true)
		last = storeOf(t, copies, "Bad", 6)
		awaitCursor("a", last, copies...)
		var first event.Sequence
		for i, c := range copies {
			s := c.status(t, "a")
			page, more, err := c.pusher.DeadLetters(t.Context(), "a", 0, "", 4)
			if err != nil || len(page) != 4 || !more || s.DeadLetterCount != 6 || s.Reasons["422"] != 6 || len(s.DeadLetters) != 6 {
				t.Fatalf("at copy %d: %+v, %d letters, %v", i, s, len(page), err)
			}
			first = page[0].Sequence
			if e, err := event.ParseLine(page[0].Event); err != nil || e.Type != "Bad" || e.Sequence != first {
				t.Errorf("at copy %d the letter has the event %s, %v", i, page[0].Event, err)
			}
			if attempts, err := c.pusher.Attempts(t.Context(), "a"); err != nil || len(attempts) == 0 || attempts[0].Status != 422 {
				t.Errorf("at copy %d the attempts are %+v, %v", i, attempts, err)
			}
		}
		a.reject.Store(false)
		for i, c := range copies {
			got, err := c.pusher.Redeliver(t.Context(), "a", push.Selection{Sequence: first + event.Sequence(i)}, false)
			if err != nil || got.Delivered != 1 {
				t.Errorf("at copy %d: %+v, %v", i, got, err)
			}
			if _, err := c.pusher.Redeliver(t.Context(), "a", push.Selection{Sequence: first}, false); !errors.Is(err, push.ErrNoLetter) {
				t.Errorf("at copy %d, once more: %v", i, err)
			}
		}
	})
	t.Run("another takes over from one that stops, with its dead letters", func(t *testing.T) {
		at := owner("a")
		stopped := copies[at]
		a.forget()
		began := time.Now()
		stopped.stop()
		others := slices.Delete(slices.Clone(copies), at, at+1)
		defer func() { copies = others }()
		last = storeOf(t, others, "T", 30)
		awaitCursor("a", last, others...)
		t.Logf("after %v the next one had delivered 30 events", time.Since(began).Round(time.Millisecond))
		if all, again := a.count(); all != 30 || again != 0 {
			t.Errorf("it got %d events, %d of them again", all, again)
		}
		a.wantInOrder(t)
		a.forget()
		if s := others[0].status(t, "a"); s.DeadLetterCount != 3 || len(s.DeadLetters) != 3 {
			t.Errorf("it is %+v", s)
		}
		if _, err := stopped.pusher.List(t.Context()); !errors.Is(err, push.ErrStopped) {
			t.Errorf("the one that stopped says %v", err)
		}
		if got, err := others[0].pusher.Redeliver(t.Context(), "a", push.Selection{From: 1}, false); err != nil || got.Delivered != 3 {
			t.Errorf("delivering the others again: %+v, %v", got, err)
		}
		a.wantInOrder(t)
	})
	t.Run("nobody delivers while no majority of the servers is there, and all goes on afterwards", func(t *testing.T) {
		servers.Servers[0].Kill()
		servers.Servers[1].Kill()
		waitFor(t, "both subscribers to have no owner", func() bool {
			return !slices.ContainsFunc(copies, func(c *copyOfBus) bool {
				return c.status(t, "a").State != "unowned" || c.status(t, "b").State != "unowned"
			})
		})
		servers.Servers[0].Start()
		servers.Servers[1].Start()
		before := last
		last = storeOf(t, copies, "T", 30)
		awaitCursor("a", last, copies...)
		if fresh := a.after(before); fresh != 30 {
			t.Errorf("it got %d of the events", fresh)
		}
	})
}
