// Package bustest has event buses for tests of what talks to one: the real
// handlers over a real log, with faults, and a bus as simple as the course's.
//
// Its law: without a fault, what a client can see of New is what the real bus
// does, for it is the same code.
package bustest

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"miniblog/event-bus/api"
	"miniblog/event-bus/eventlog"
	"miniblog/internal/event"
	"miniblog/internal/web"
	"miniblog/internal/wire"
)

// Bus is a bus on a free port of its own.
type Bus struct {
	URL string

	t      testing.TB
	server *httptest.Server

	mu       sync.Mutex
	real     *running
	simple   *simpleBus // answers instead of real, if there is one
	away     bool
	requests map[string]int // publications, by content type
	refuse   int            // status to answer POST /events with, 0 for none
	hold     chan struct{}  // POST /events waits until it is closed
	corrupt  func([]byte) []byte
	noFollow bool
	close    []func() error // of all logs
}

// running is the bus's own handlers and what they work on.
type running struct {
	handler http.Handler
	log     *eventlog.Log
	stop    context.CancelFunc
}

// New starts a bus that speaks the whole contract, without push.
func New(t testing.TB) *Bus {
	b := &Bus{t: t, requests: map[string]int{}}
	b.open("")
	b.start()
	return b
}

func (b *Bus) start() {
	b.server = httptest.NewServer(b)
	b.URL = b.server.URL
	b.t.Cleanup(func() {
		b.Stop()
		for _, close := range b.close {
			if err := close(); err != nil {
				b.t.Error(err)
			}
		}
	})
}

// open puts a new log under the handlers; with an id, it is that log's.
func (b *Bus) open(id string) {
	b.t.Helper()
	dir := b.t.TempDir()
	log := b.openIn(dir)
	if id != "" {
		if err := log.Close(); err != nil {
			b.t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "id"), []byte(id+"\n"), 0o644); err != nil {
			b.t.Fatal(err)
		}
		if log = b.openIn(dir); log.ID() != id {
			b.t.Fatalf("the log has the id %s, want %s", log.ID(), id)
		}
	}
	ctx, stop := context.WithCancel(context.Background())
	mux := http.NewServeMux()
	for pattern, handler := range api.New(api.Config{Log: log, Stopping: ctx}).Routes() {
		mux.Handle(pattern, handler)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.real != nil {
		b.real.stop() // who waits there asks again here
	}
	b.real = &running{mux, log, stop}
	b.close = append(b.close, log.Close)
}

func (b *Bus) openIn(dir string) *eventlog.Log {
	b.t.Helper()
	log, err := eventlog.Open(dir, eventlog.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.t.Fatal(err)
	}
	return log
}

// Stop makes the bus go away: connections are cut and refused.
func (b *Bus) Stop() {
	b.mu.Lock()
	b.away = true
	b.mu.Unlock()
	b.server.CloseClientConnections()
	b.server.Close()
}

// Restart brings the bus back at the same address.
func (b *Bus) Restart(t testing.TB) {
	t.Helper()
	var listener net.Listener
	var err error
	for range 100 { // the port may take a moment to be free
		if listener, err = net.Listen("tcp", strings.TrimPrefix(b.URL, "http://")); err == nil {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if err != nil {
		t.Fatal(err)
	}
	b.mu.Lock()
	b.away = false
	b.mu.Unlock()
	b.server = &httptest.Server{Listener: listener, Config: &http.Server{Handler: b}}
	b.server.Start()
}

// Become makes the bus another one, simple or not, with a new log of events.
func (b *Bus) Become(simple bool, events ...event.Event) {
	b.t.Helper()
	if simple { // at once, whole: a reader asks it once in ten seconds
		array := &simpleBus{}
		array.store(events...)
		b.setSimple(array)
		b.open("")
		return
	}
	b.open("")
	b.setSimple(nil)
	b.Add(events...)
}

func (b *Bus) setSimple(simple *simpleBus) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.simple = simple
}

// Truncate makes the log end after n events, as one that was restored from an
// old copy does.
func (b *Bus) Truncate(n int) {
	b.t.Helper()
	kept := b.Events()[:n]
	b.open(b.current().log.ID())
	b.Add(kept...)
}

// Refuse makes POST /events answer with status; 0 ends that.
func (b *Bus) Refuse(status int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.refuse = status
}

// Hold makes POST /events wait until release is called.
func (b *Bus) Hold() (release func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	hold := make(chan struct{})
	b.hold = hold
	return sync.OnceFunc(func() {
		b.mu.Lock()
		b.hold = nil
		b.mu.Unlock()
		close(hold)
	})
}

// Corrupt changes the bodies of fetches; nil ends that.
func (b *Bus) Corrupt(change func([]byte) []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.corrupt = change
}

// ForgetFollow makes the bus one that knows no answers that stay open.
func (b *Bus) ForgetFollow() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.noFollow = true
}

// Add stores events as if they had been published, as they are.
func (b *Bus) Add(events ...event.Event) {
	b.t.Helper()
	b.mu.Lock()
	simple := b.simple
	b.mu.Unlock()
	if simple != nil {
		simple.store(events...)
		return
	}
	lines := make([]event.Line, len(events))
	for i, e := range events {
		if e.ID == "" {
			e.ID = event.NewID()
		}
		e.Sequence = 0
		var err error
		if lines[i], err = event.NewLine(&e); err != nil {
			b.t.Fatal(err)
		}
	}
	if _, err := b.current().log.Append(context.Background(), lines); err != nil {
		b.t.Fatal(err)
	}
}

// Events returns what is stored.
func (b *Bus) Events() (events []event.Event) {
	b.t.Helper()
	b.mu.Lock()
	simple := b.simple
	b.mu.Unlock()
	if simple != nil {
		return simple.stored()
	}
	r := b.current().log.Reader(0)
	defer r.Close()
	for {
		batch, err := r.Next()
		if err != nil {
			b.t.Fatal(err)
		}
		if batch.Count == 0 {
			return events
		}
		for line := range batch.Lines() {
			e, err := event.ParseLine(bytes.Clone(line))
			if err != nil {
				b.t.Fatal(err)
			}
			events = append(events, e)
		}
	}
}

func (b *Bus) current() *running {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.real
}

// Requests returns how many publications of a content type came.
func (b *Bus) Requests(contentType string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.requests[contentType]
}

// ServeHTTP implements http.Handler: the faults, and else what the bus does.
func (b *Bus) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b.mu.Lock()
	real, simple, away, refuse, hold, corrupt := b.real.handler, b.simple, b.away, b.refuse, b.hold, b.corrupt
	if b.noFollow || corrupt != nil { // what stays open has no whole that could be corrupted
		r.URL.RawQuery = strings.ReplaceAll(r.URL.RawQuery, wire.Follow+"=", "unknown=")
	}
	if r.Method == http.MethodPost {
		b.requests[r.Header.Get("Content-Type")]++
	}
	b.mu.Unlock()
	if away {
		panic(http.ErrAbortHandler)
	}
	if r.Method == http.MethodPost && hold != nil {
		<-hold
	}
	switch {
	case r.Method == http.MethodPost && refuse != 0:
		web.WriteProblem(w, web.NewProblem(refuse, "The test says so."))
	case simple != nil:
		simple.ServeHTTP(w, r)
	case r.Method == http.MethodGet && corrupt != nil:
		r.Header.Del("Accept-Encoding")
		whole := httptest.NewRecorder()
		real.ServeHTTP(whole, r)
		for name, values := range whole.Header() {
			w.Header()[name] = values
		}
		w.Header().Del("Content-Length")
		w.WriteHeader(whole.Code)
		w.Write(corrupt(whole.Body.Bytes()))
	default:
		real.ServeHTTP(w, r)
	}
}
