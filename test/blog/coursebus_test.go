package blog

import (
	"bytes"
	"encoding/json"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"
)

// courseBus is an event bus like the course's: it keeps what it is sent in
// memory, posts it to a list of services without looking at what they answer
// and in no order, and gives all of it to whoever asks.
type courseBus struct {
	url         string
	subscribers []string // URLs without a path; set before the first event

	mu     sync.Mutex
	events []json.RawMessage
	pushes sync.WaitGroup
}

func startCourseBus(t *testing.T) *courseBus {
	t.Helper()
	b := &courseBus{}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /events", b.publish)
	mux.HandleFunc("GET /events", func(w http.ResponseWriter, _ *http.Request) {
		b.mu.Lock()
		defer b.mu.Unlock()
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		json.NewEncoder(w).Encode(append([]json.RawMessage{}, b.events...))
	})
	server := httptest.NewServer(mux)
	b.url = server.URL
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
		b.pushes.Wait()
	})
	return b
}

func (b *courseBus) publish(w http.ResponseWriter, r *http.Request) {
	event, err := io.ReadAll(r.Body)
	if err != nil || !json.Valid(event) {
		http.Error(w, "SyntaxError: Unexpected token", http.StatusBadRequest)
		return
	}
	b.mu.Lock()
	b.events = append(b.events, event)
	b.mu.Unlock()
	for _, url := range b.subscribers {
		b.pushes.Add(1)
		time.AfterFunc(rand.N(20*time.Millisecond), func() {
			defer b.pushes.Done()
			response, err := http.Post(url+"/events", "application/json", bytes.NewReader(event))
			if err == nil {
				response.Body.Close()
			}
		})
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	io.WriteString(w, `{"status":"OK"}`)
}
