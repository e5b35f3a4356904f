package push

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"miniblog/event-bus/eventlog"
	"miniblog/internal/event"
	"miniblog/test/wait"
)

var quiet = slog.New(slog.DiscardHandler)

func openLog(t testing.TB, dir string) *eventlog.Log {
	t.Helper()
	log, err := eventlog.Open(dir, eventlog.Options{Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { log.Close() })
	return log
}

// publish stores an event of type T for each subject and returns the last
// sequence.
func publish(t testing.TB, log *eventlog.Log, subjects ...string) event.Sequence {
	t.Helper()
	return publishType(t, log, "T", subjects...)
}

func publishType(t testing.TB, log *eventlog.Log, typ string, subjects ...string) event.Sequence {
	t.Helper()
	var lines []event.Line
	for _, subject := range subjects {
		e := event.New(event.NewID(), "/test", typ, subject, map[string]string{"id": subject})
		line, err := event.NewLine(&e)
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, line)
	}
	positions, err := log.Append(context.WithoutCancel(t.Context()), lines)
	if err != nil {
		t.Fatal(err)
	}
	return positions[len(positions)-1].Sequence
}

// subjects returns n subjects, of which no more than different differ.
func subjects(n, different int) (list []string) {
	for i := range n {
		list = append(list, fmt.Sprintf("s%d", i%different))
	}
	return list
}

// receiver is a subscriber: a server of its own on a port of its own that can
// go away and come back. answer decides on each event; nil takes everything.
type receiver struct {
	t      testing.TB
	addr   string
	answer func(http.ResponseWriter, *http.Request, event.Event)

	mu      sync.Mutex
	server  *http.Server
	arrived []event.Event // each attempt, as it came
	taken   []event.Event // each one that was answered with 2xx, at its end
	now     map[string]int
	inside  int
	most    int // of inside
	overlap bool
}

func receive(t testing.TB, answer func(http.ResponseWriter, *http.Request, event.Event)) *receiver {
	t.Helper()
	r := &receiver{t: t, addr: "127.0.0.1:0", answer: answer, now: map[string]int{}}
	r.start()
	t.Cleanup(r.stop)
	return r
}

// start listens at the address that it had before.
func (r *receiver) start() {
	r.t.Helper()
	var listener net.Listener
	wait.Nil(r.t, "the subscriber's port", func() (err error) {
		listener, err = net.Listen("tcp", r.addr)
		return err
	})
	r.addr = listener.Addr().String()
	server := &http.Server{Handler: r}
	r.mu.Lock()
	r.server = server
	r.mu.Unlock()
	go server.Serve(listener)
}

// stop closes the port and every connection, as a process does that is killed.
func (r *receiver) stop() {
	r.mu.Lock()
	server := r.server
	r.mu.Unlock()
	server.Close()
}

func (r *receiver) subscriber(name string, types ...string) Subscriber {
	return Subscriber{Name: name, URL: "http://" + r.addr + "/events", Types: types}
}

// status remembers what was answered.
type status struct {
	http.ResponseWriter
	code int
}

func (s *status) WriteHeader(code int) {
	s.code = code
	s.ResponseWriter.WriteHeader(code)
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	body := make([]byte, request.ContentLength)
	if _, err := io.ReadFull(request.Body, body); err != nil {
		return // it was stopped meanwhile
	}
	e, err := event.ParseLine(body)
	if err != nil {
		r.t.Errorf("%v in %q", err, body)
	}
	if request.Method != "POST" || request.URL.Path != "/events" || request.Header.Get("Content-Type") != "application/json" || request.Header.Get("Idempotency-Key") != e.ID {
		r.t.Errorf("the request is %s %s %v", request.Method, request.URL, request.Header)
	}
	r.mu.Lock()
	r.arrived = append(r.arrived, e)
	r.now[e.Subject]++
	r.overlap = r.overlap || r.now[e.Subject] > 1
	r.inside++
	r.most = max(r.most, r.inside)
	r.mu.Unlock()
	s := &status{w, http.StatusOK}
	done := false
	defer func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.now[e.Subject]--
		r.inside--
		if done && s.code/100 == 2 && request.Context().Err() == nil {
			r.taken = append(r.taken, e)
		}
	}()
	if r.answer != nil {
		r.answer(s, request, e)
	}
	done = true // it did not panic
}

// arrivals returns the sequences of all attempts so far.
func (r *receiver) arrivals() []event.Sequence {
	r.mu.Lock()
	defer r.mu.Unlock()
	return sequences(r.arrived)
}

// got returns the sequences of what was taken so far.
func (r *receiver) got() []event.Sequence {
	r.mu.Lock()
	defer r.mu.Unlock()
	return sequences(r.taken)
}

// forget forgets what came so far.
func (r *receiver) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.arrived, r.taken = nil, nil
}

func sequences(events []event.Event) (list []event.Sequence) {
	for _, e := range events {
		list = append(list, e.Sequence)
	}
	return list
}

// wantAll waits until every event from first to last was taken, and checks
// their order: within a subject an event is taken for the first time after
// those before it.
func (r *receiver) wantAll(first, last event.Sequence) {
	r.t.Helper()
	wait.Nil(r.t, fmt.Sprintf("the events %d to %d", first, last), func() error {
		there := map[event.Sequence]bool{}
		for _, q := range r.got() {
			there[q] = true
		}
		for q := first; q <= last; q++ {
			if !there[q] {
				return fmt.Errorf("event %d is missing; got %d", q, r.got())
			}
		}
		return nil
	})
	r.wantOrder()
}

func (r *receiver) wantOrder() {
	r.t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	newest, seen := map[string]event.Sequence{}, map[event.Sequence]bool{}
	for _, e := range r.taken {
		if !seen[e.Sequence] && e.Sequence < newest[e.Subject] {
			r.t.Errorf("event %d of subject %q came after event %d", e.Sequence, e.Subject, newest[e.Subject])
		}
		seen[e.Sequence] = true
		newest[e.Subject] = max(newest[e.Subject], e.Sequence)
	}
}

// wantOneAtATime checks that no two events of a subject were under way at
// once. Of one that timed out the subscriber may still hold the request.
func (r *receiver) wantOneAtATime() {
	r.t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.overlap {
		r.t.Error("two events of one subject were under way at once")
	}
}

// wantOnce checks that exactly these were taken, in any order.
func (r *receiver) wantOnce(want ...event.Sequence) {
	r.t.Helper()
	got := r.got()
	slices.Sort(got)
	if !slices.Equal(got, want) {
		r.t.Errorf("got %d, want %d", got, want)
	}
}

// wantEach checks that these were taken, in any order, and no others. While an
// event is stuck the last delivered one may come again.
func (r *receiver) wantEach(want ...event.Sequence) {
	r.t.Helper()
	got := r.got()
	slices.Sort(got)
	if got = slices.Compact(got); !slices.Equal(got, want) {
		r.t.Errorf("got %d, want %d", got, want)
	}
}

// running is a pusher that runs.
type running struct {
	*Pusher
	t    testing.TB
	stop func() // and wait
}

// run starts a pusher with short waits on the folder dir.
func run(t testing.TB, log *eventlog.Log, dir string, subscribers ...Subscriber) *running {
	t.Helper()
	return runWith(t, Config{Log: log, Dir: dir}, subscribers...)
}

func runWith(t testing.TB, config Config, subscribers ...Subscriber) *running {
	t.Helper()
	config.Logger = quiet
	if config.FirstBackoff == 0 {
		config.FirstBackoff, config.MostBackoff = time.Millisecond, 10*time.Millisecond
	}
	p, err := New(config, subscribers)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	go p.Run(ctx)
	r := &running{Pusher: p, t: t, stop: func() { cancel(); <-p.stopped }}
	t.Cleanup(r.stop)
	return r
}

// status returns how a subscriber is doing.
func (r *running) status(name string) Status {
	r.t.Helper()
	list, err := r.List(context.WithoutCancel(r.t.Context()))
	if err != nil {
		r.t.Fatal(err)
	}
	for _, s := range list {
		if s.Name == name {
			return s
		}
	}
	r.t.Fatalf("there is no subscriber %s", name)
	return Status{}
}

// wantStatus waits until check finds nothing wrong with a subscriber.
func (r *running) wantStatus(name, what string, check func(Status) bool) (s Status) {
	r.t.Helper()
	wait.Nil(r.t, name+" to be "+what, func() error {
		if s = r.status(name); !check(s) {
			return fmt.Errorf("it is %+v", s)
		}
		return nil
	})
	return s
}

// wantCursor waits until a subscriber has everything up to q.
func (r *running) wantCursor(name string, q event.Sequence) Status {
	r.t.Helper()
	return r.wantStatus(name, fmt.Sprintf("at %d", q), func(s Status) bool { return s.Cursor == q })
}

// look runs f where a subscriber's dispatcher may be looked at.
func (r *running) look(i int, f func(*dispatcher)) {
	r.t.Helper()
	d := r.seats[i].get()
	if err := d.do(context.WithoutCancel(r.t.Context()), func() { f(d) }); err != nil {
		r.t.Fatal(err)
	}
}

// answers returns an answer that gives each status in turn to each event, and
// then takes it.
func answers(codes ...int) func(http.ResponseWriter, *http.Request, event.Event) {
	var mu sync.Mutex
	tries := map[event.Sequence]int{}
	return func(w http.ResponseWriter, _ *http.Request, e event.Event) {
		mu.Lock()
		n := tries[e.Sequence]
		tries[e.Sequence]++
		mu.Unlock()
		if n < len(codes) {
			w.WriteHeader(codes[n])
		}
	}
}
