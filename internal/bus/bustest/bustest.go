// Package bustest has event buses for tests of what talks to one: a log in
// memory that speaks the bus's contract, and one as simple as the course's.
//
// Its law: what a client can see of New is what the real bus does; one suite
// holds for both.
package bustest

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/klauspost/compress/zstd"

	"miniblog/internal/event"
)

// Bus is a bus in memory on a free port of its own.
type Bus struct {
	URL string

	mu          sync.Mutex
	simple      bool
	away        bool
	server      *httptest.Server
	log         string
	events      []event.Event
	ids         map[string]event.Sequence
	grown       chan struct{}
	subscribers []string
	requests    map[string]int // by method and content type
	refuse      int            // status to answer POST /events with, 0 for none
	hold        chan struct{}  // POST /events waits until it is closed
	corrupt     func([]byte) []byte
}

// New starts a bus that speaks the whole contract, without push.
func New(t testing.TB) *Bus { return start(t, false) }

// NewSimple starts a bus like the course's: an array in memory, no ids, no
// order, no log; every event is pushed once to every subscriber.
func NewSimple(t testing.TB, subscribers ...string) *Bus {
	b := start(t, true)
	b.Subscribe(subscribers...)
	return b
}

func start(t testing.TB, simple bool) *Bus {
	b := &Bus{simple: simple, log: event.NewID(), grown: make(chan struct{}),
		ids: map[string]event.Sequence{}, requests: map[string]int{}}
	b.server = httptest.NewServer(b)
	b.URL = b.server.URL
	t.Cleanup(b.Stop)
	return b
}

// Stop makes the bus go away: connections are cut and refused.
func (b *Bus) Stop() {
	b.mu.Lock()
	b.away = true
	b.wakeLocked()
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
	b.mu.Lock()
	defer b.mu.Unlock()
	b.simple, b.log, b.events = simple, event.NewID(), nil
	b.ids = map[string]event.Sequence{}
	for _, e := range events {
		b.storeLocked(e)
	}
	b.wakeLocked()
}

// Truncate makes the log end after n events, as one that was restored from an
// old copy does.
func (b *Bus) Truncate(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range b.events[n:] {
		delete(b.ids, e.ID)
	}
	b.events = b.events[:n:n]
	b.wakeLocked()
}

// Subscribe adds addresses that a simple bus pushes to.
func (b *Bus) Subscribe(urls ...string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.subscribers = append(b.subscribers, urls...)
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

// Add stores events as if they had been published.
func (b *Bus) Add(events ...event.Event) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range events {
		b.storeLocked(e)
	}
	b.wakeLocked()
}

// Events returns what is stored.
func (b *Bus) Events() []event.Event {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]event.Event(nil), b.events...)
}

// Requests returns how many publications of a content type came.
func (b *Bus) Requests(contentType string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.requests[contentType]
}

// ServeHTTP implements http.Handler.
func (b *Bus) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b.mu.Lock()
	simple, away := b.simple, b.away
	b.mu.Unlock()
	switch {
	case away:
		panic(http.ErrAbortHandler)
	case r.URL.Path != "/events":
		http.NotFound(w, r)
	case r.Method == http.MethodPost && simple:
		b.publishSimple(w, r)
	case r.Method == http.MethodPost:
		b.publish(w, r)
	case simple:
		answer(w, http.StatusOK, b.Events())
	default:
		b.fetch(w, r)
	}
}

// enter counts a publication and holds it up as long as the test wants.
func (b *Bus) enter(kind string) (refuse int) {
	b.mu.Lock()
	b.requests[kind]++
	refuse, hold := b.refuse, b.hold
	b.mu.Unlock()
	if hold != nil {
		<-hold
	}
	return refuse
}

func (b *Bus) publish(w http.ResponseWriter, r *http.Request) {
	kind := r.Header.Get("Content-Type")
	body, _ := io.ReadAll(r.Body)
	if refuse := b.enter(kind); refuse != 0 {
		answer(w, refuse, map[string]any{"status": refuse, "title": http.StatusText(refuse), "detail": "The test says so."})
		return
	}
	var events []event.Event
	batch := kind == "application/cloudevents-batch+json"
	if !batch {
		body = append(append([]byte{'['}, body...), ']')
	}
	if err := json.Unmarshal(body, &events); err != nil {
		answer(w, http.StatusBadRequest, map[string]any{"status": 400, "detail": err.Error()})
		return
	}
	for _, e := range events {
		if len(e.ID) > event.MaxID || e.Type == "" {
			answer(w, http.StatusUnprocessableEntity, map[string]any{"status": 422, "detail": "The id is too long, or the type is missing."})
			return
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	var sequences []event.Sequence
	var duplicates []bool
	again := false
	for _, e := range events {
		s, duplicate := b.storeLocked(e)
		sequences, duplicates = append(sequences, s), append(duplicates, duplicate)
		again = again || duplicate
	}
	b.wakeLocked()
	said := map[string]any{"status": "OK"}
	switch {
	case !batch:
		said["id"], said["sequence"] = b.events[sequences[0]-1].ID, sequences[0]
		if again {
			said["duplicate"] = true
		}
	default:
		said["first"], said["last"] = sequences[0], sequences[len(sequences)-1]
		if again {
			said["sequences"], said["duplicates"] = sequences, duplicates
		}
	}
	answer(w, http.StatusOK, said)
}

func (b *Bus) storeLocked(e event.Event) (s event.Sequence, duplicate bool) {
	if !b.simple {
		if s, stored := b.ids[e.ID]; stored {
			return s, true
		}
		if e.ID == "" {
			e.ID = event.NewID()
		}
		e.Sequence = event.Sequence(len(b.events) + 1)
		b.ids[e.ID] = e.Sequence
	}
	b.events = append(b.events, e)
	return e.Sequence, false
}

func (b *Bus) wakeLocked() {
	close(b.grown)
	b.grown = make(chan struct{})
}

// publishSimple is the course's bus: store what the body parser makes of the
// body, push it to everybody, ignore how that went.
func (b *Bus) publishSimple(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	kind := r.Header.Get("Content-Type")
	var e event.Event
	if kind == "application/json" {
		if err := json.Unmarshal(body, &e); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
	} else {
		body = []byte(`{}`)
	}
	b.enter(kind)
	b.mu.Lock()
	b.events = append(b.events, e)
	subscribers := b.subscribers
	b.mu.Unlock()
	for _, url := range subscribers {
		go func() {
			resp, err := http.Post(url, "application/json", bytes.NewReader(body))
			if err == nil {
				resp.Body.Close()
			}
		}()
	}
	answer(w, http.StatusOK, map[string]string{"status": "OK"})
}

func (b *Bus) fetch(w http.ResponseWriter, r *http.Request) {
	after, err := event.ParseSequence("0" + r.URL.Query().Get("after"))
	if text := r.URL.Query().Get("after"); text != "" {
		after, err = event.ParseSequence(text)
	}
	if err != nil {
		answer(w, http.StatusUnprocessableEntity, map[string]any{"status": 422, "detail": err.Error()})
		return
	}
	wait, _ := time.ParseDuration(r.URL.Query().Get("wait"))
	limit := time.After(wait)
	b.mu.Lock()
	for event.Sequence(len(b.events)) == after && wait > 0 && !b.away {
		grown := b.grown
		b.mu.Unlock()
		select {
		case <-grown:
		case <-limit:
			wait = 0
		case <-r.Context().Done():
			return
		}
		b.mu.Lock()
	}
	if b.away {
		b.mu.Unlock()
		panic(http.ErrAbortHandler)
	}
	var body []byte
	last := event.Sequence(len(b.events))
	for i := int(min(after, last)); i < len(b.events); i++ {
		e := b.events[i]
		line, _ := event.NewLine(&e)
		body = append(append(body, line.Text()...), '\n')
	}
	log, corrupt := b.log, b.corrupt
	b.mu.Unlock()
	if !strings.Contains(r.Header.Get("Accept"), "ndjson") {
		body = append(append([]byte{'['}, bytes.ReplaceAll(bytes.TrimSpace(body), []byte("\n"), []byte(","))...), "]\n"...)
		w.Header().Set("Content-Type", "application/json")
	} else {
		w.Header().Set("Content-Type", "application/x-ndjson")
	}
	if corrupt != nil {
		body = corrupt(body)
	}
	if strings.Contains(r.Header.Get("Accept-Encoding"), "zstd") {
		w.Header().Set("Content-Encoding", "zstd")
		var packed bytes.Buffer
		encoder, _ := zstd.NewWriter(&packed, zstd.WithEncoderConcurrency(1))
		encoder.Write(body)
		encoder.Close()
		body = packed.Bytes()
	}
	w.Header().Set("Event-Log", log)
	w.Header().Set("Event-Sequence-Last", last.String())
	w.Write(body)
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.MarshalWrite(w, v)
}
