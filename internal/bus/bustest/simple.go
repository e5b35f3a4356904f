package bustest

import (
	"bytes"
	"io"
	"net/http"
	"slices"
	"sync"
	"testing"

	"github.com/go-json-experiment/json"

	"miniblog/internal/event"
	"miniblog/internal/web"
)

// simpleBus is a bus like the course's: an array in memory, no ids, no order,
// no log; every event is pushed once to every subscriber.
type simpleBus struct {
	mu          sync.Mutex
	events      []event.Event
	subscribers []string
}

// NewSimple starts a bus like the course's.
func NewSimple(t testing.TB, subscribers ...string) *Bus {
	b := &Bus{t: t, simple: &simpleBus{}, requests: map[string]int{}}
	b.open("") // for what it may become
	b.Subscribe(subscribers...)
	b.start()
	return b
}

// Subscribe adds addresses that a simple bus pushes to.
func (b *Bus) Subscribe(urls ...string) {
	b.simple.mu.Lock()
	defer b.simple.mu.Unlock()
	b.simple.subscribers = append(b.simple.subscribers, urls...)
}

func (s *simpleBus) store(events ...event.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events = append(s.events, events...)
}

func (s *simpleBus) stored() []event.Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.events)
}

// ServeHTTP implements http.Handler.
func (s *simpleBus) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.URL.Path != "/events":
		http.NotFound(w, r)
	case r.Method == http.MethodPost:
		s.publish(w, r)
	default:
		web.WriteJSON(w, http.StatusOK, s.stored())
	}
}

// publish stores what the course's body parser makes of the body, pushes it to
// everybody, and ignores how that went.
func (s *simpleBus) publish(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	var e event.Event
	if r.Header.Get("Content-Type") == "application/json" {
		if err := json.Unmarshal(body, &e); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
	} else {
		body = []byte(`{}`)
	}
	s.store(e)
	s.mu.Lock()
	subscribers := s.subscribers
	s.mu.Unlock()
	for _, url := range subscribers {
		go func() {
			if resp, err := http.Post(url, "application/json", bytes.NewReader(body)); err == nil {
				resp.Body.Close()
			}
		}()
	}
	web.WriteJSON(w, http.StatusOK, map[string]string{"status": "OK"})
}
