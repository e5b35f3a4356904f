package blog

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"sync"
	"testing"

	"miniblog/test/harness"
)

// subscriber is a program that is not ours: it takes what the bus pushes. It
// keeps its address when it is down.
type subscriber struct {
	t       testing.TB
	address string
	answer  func(http.ResponseWriter, *http.Request, harness.Event) // instead of 200 at once, if it is not nil

	mu       sync.Mutex
	received []harness.Event // in the order in which they came
	server   *http.Server
}

// newSubscriber returns a subscriber that is down.
func newSubscriber(t testing.TB) *subscriber {
	t.Helper()
	s := &subscriber{t: t, address: harness.FreeAddress(t)}
	t.Cleanup(s.die)
	return s
}

func (s *subscriber) url() string { return "http://" + s.address + "/events" }

// live starts it, or starts it again.
func (s *subscriber) live() {
	s.t.Helper()
	listener, err := net.Listen("tcp", s.address)
	if err != nil {
		s.t.Fatal(err)
	}
	server := &http.Server{Handler: s}
	s.mu.Lock()
	s.server = server
	s.mu.Unlock()
	go server.Serve(listener) // until die
}

// die cuts off whoever is connected.
func (s *subscriber) die() {
	s.mu.Lock()
	server := s.server
	s.server = nil
	s.mu.Unlock()
	if server != nil {
		server.Close()
	}
}

// ServeHTTP implements http.Handler.
func (s *subscriber) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var e harness.Event
	if err := json.NewDecoder(r.Body).Decode(&e); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	s.received = append(s.received, e)
	s.mu.Unlock()
	if s.answer != nil {
		s.answer(w, r, e)
	}
}

// events returns what was received so far.
func (s *subscriber) events() []harness.Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]harness.Event(nil), s.received...)
}

// has waits until every one of the wanted events was received.
func (s *subscriber) has(wanted []harness.Event) {
	s.t.Helper()
	harness.Eventually(s.t, limit, func() error {
		got := map[string]bool{}
		for _, e := range s.events() {
			got[e.ID] = true
		}
		for i, e := range wanted {
			if !got[e.ID] {
				return fmt.Errorf("event %d of %d, %s %s, has not come; %d others have", i+1, len(wanted), e.Type, e.Sequence, len(got))
			}
		}
		return nil
	})
}

// inOrder fails the test if an event came before one of the same subject that
// is older. One that comes again is in order.
func (s *subscriber) inOrder() {
	s.t.Helper()
	last := map[string]string{}
	for _, e := range s.events() {
		if e.Sequence < last[e.Subject] {
			s.t.Errorf("subject %q: event %s came after event %s", e.Subject, e.Sequence, last[e.Subject])
		}
		last[e.Subject] = e.Sequence
	}
}
