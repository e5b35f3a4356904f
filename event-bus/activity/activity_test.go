package activity

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"miniblog/event-bus/eventlog"
	"miniblog/internal/event"
)

const limit = 20 * time.Second // for anything that takes a moment

// start returns a recorder for an empty log, and where it is served.
func start(t testing.TB) (r *Recorder, log *eventlog.Log, url string) {
	t.Helper()
	dir := t.TempDir()
	log, err := eventlog.Open(dir, eventlog.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { log.Close() })
	r = New(log, dir)
	ctx, stop := context.WithCancel(t.Context())
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) { r.Serve(ctx, w, request) }))
	t.Cleanup(func() { stop(); server.Close() })
	return r, log, server.URL
}

// publisher is who stores in these tests.
var publisher = &http.Request{Header: http.Header{"User-Agent": {"miniblog-comments/1.2 (a:1)"}}, RemoteAddr: "127.0.0.1:4711"}

// store publishes events and records them.
func store(t testing.TB, r *Recorder, log *eventlog.Log, events ...event.Event) {
	t.Helper()
	arrived := time.Now()
	var lines []event.Line
	for _, e := range events {
		line, err := event.NewLine(&e)
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, line)
	}
	positions, err := log.Append(t.Context(), lines)
	if err != nil {
		t.Fatal(err)
	}
	r.Stored(positions, arrived, publisher)
}

// message is one server-sent event.
type message struct {
	id, name string
	data     map[string]any
}

// reader reads a stream.
type reader struct {
	t    testing.TB
	body *bufio.Reader
	id   string
}

func look(t testing.TB, url, lastID string) *reader {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if lastID != "" {
		request.Header.Set("Last-Event-ID", lastID)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cancel(); response.Body.Close() })
	if got := response.Header.Get("Content-Type"); got != "text/event-stream" {
		t.Errorf("Content-Type: %s", got)
	}
	return &reader{t: t, body: bufio.NewReader(response.Body)}
}

// next returns the next message with a name, and passes over others.
func (r *reader) next(name string) message {
	r.t.Helper()
	var m message
	for {
		line, err := r.body.ReadString('\n')
		if err != nil {
			r.t.Fatalf("the stream ended before a message called %s: %v", name, err)
		}
		switch field, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": "); field {
		case "id":
			r.id = value
		case "event":
			m.name = value
		case "data":
			if err := json.Unmarshal([]byte(value), &m.data); err != nil {
				r.t.Fatalf("%v in %q", err, line)
			}
		case "":
			if m.id = r.id; m.name == name {
				return m
			}
			m = message{}
		}
	}
}

func newEvent(id, typ string) event.Event {
	return event.New(id, "/comments", typ, "post-1", map[string]string{"id": "c"})
}

func TestStreamTellsWhatWasAndThenWhatHappens(t *testing.T) {
	r, log, url := start(t)
	store(t, r, log, newEvent("a", "CommentCreated"))
	stream := look(t, url, "")
	if m := stream.next("log"); m.data["id"] != log.ID() || m.data["last"] != event.Sequence(1).String() {
		t.Errorf("the log is %v", m.data)
	}
	m := stream.next("stored").data
	if m["sequence"] != event.Sequence(1).String() || m["id"] != "a" || m["type"] != "CommentCreated" || m["source"] != "/comments" || m["subject"] != "post-1" || m["cause"] != nil {
		t.Errorf("told of %v", m)
	}
	if ms, _ := m["ms"].(float64); ms <= 0 || m["size"].(float64) < 100 {
		t.Errorf("from arrival to the disk it took %v ms for %v bytes", m["ms"], m["size"])
	}
	store(t, r, log, newEvent("a/CommentModerated", "CommentModerated"))
	if m := stream.next("stored").data; m["cause"] != "a" {
		t.Errorf("the reaction is told as %v, without its cause", m)
	}
	r.Delivered(Delivery{Subscriber: "moderation", Sequence: 1, Attempt: 2, Outcome: "refused", Status: 503, Answer: "not \xff now", Began: time.Now(), Took: 1500 * time.Microsecond})
	if m := stream.next("delivered").data; m["subscriber"] != "moderation" || m["attempt"] != 2.0 || m["status"] != 503.0 || m["answer"] != "not � now" || m["ms"] != 1.5 {
		t.Errorf("the attempt is told as %v", m)
	}
	r.StateChanged("moderation", "down", "no connection")
	if m := stream.next("state").data; m["subscriber"] != "moderation" || m["state"] != "down" || m["why"] != "no connection" {
		t.Errorf("the state is told as %v", m)
	}
}

func TestReaderResumesWhereItWas(t *testing.T) {
	r, log, url := start(t)
	store(t, r, log, newEvent("a", "A"), newEvent("b", "B"))
	store(t, r, log, newEvent("c", "C"))
	first := look(t, url, "")
	first.next("stored")
	if m := first.next("stored"); m.data["id"] != "b" || m.id == "" {
		t.Fatalf("the second message is %v", m)
	}
	if m := look(t, url, first.id).next("stored"); m.data["id"] != "c" {
		t.Errorf("after b comes %v", m.data)
	}
	if m := look(t, url, "of-another-run-7").next("stored"); m.data["id"] != "a" {
		t.Errorf("an id of another run leads to %v, not to the start", m.data)
	}
}

func TestSlowReaderIsToldHowMuchItMissed(t *testing.T) {
	r, _, url := start(t)
	stream := look(t, url, "")
	stream.next("log")
	const facts = 3 * Remembered
	for i := range facts {
		r.StateChanged("one", "up", fmt.Sprint(i))
	}
	var told, lost int
	for told+lost < facts {
		line := stream.next2("state", "lost")
		if line.name == "lost" {
			lost += int(line.data["facts"].(float64))
		} else {
			told++
		}
	}
	if told+lost != facts || lost == 0 || told == 0 {
		t.Errorf("told %d facts and said that %d were lost, of %d", told, lost, facts)
	}
	if r.end != facts || len(r.ring) != Remembered {
		t.Errorf("%d facts are remembered, numbered to %d", len(r.ring), r.end)
	}
}

// next2 returns the next message that has one of two names.
func (r *reader) next2(one, other string) message {
	r.t.Helper()
	var m message
	for {
		line, err := r.body.ReadString('\n')
		if err != nil {
			r.t.Fatal(err)
		}
		switch field, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": "); field {
		case "event":
			m.name = value
		case "data":
			m.data = nil
			if err := json.Unmarshal([]byte(value), &m.data); err != nil {
				r.t.Fatal(err)
			}
		case "":
			if m.name == one || m.name == other {
				return m
			}
		}
	}
}

func TestFollowersAreKnownByName(t *testing.T) {
	r, _, url := start(t)
	visit := func(agent, address string) (*Visit, context.CancelFunc) {
		ctx, leave := context.WithCancel(t.Context())
		request := httptest.NewRequestWithContext(ctx, http.MethodGet, "/events?wait=30s", nil)
		request.Header.Set("User-Agent", agent)
		request.RemoteAddr = address
		return r.Visited(request, 7), leave
	}
	query, leave := visit("miniblog-query/1.2 (copy-2)", "10.0.0.1:1234")
	stream := look(t, url, "")
	m := stream.next("followed").data
	if m["name"] != "query" || m["copy"] != "copy-2" || m["address"] != "10.0.0.1" || m["position"] != event.Sequence(7).String() || m["requests"] != 1.0 {
		t.Errorf("the follower is told as %v", m)
	}
	stream.next("followed") // what it did to get there
	query.Sent(9)
	if m := stream.next("followed").data; m["did"] != "sent" || m["sent"] != event.Sequence(9).String() {
		t.Errorf("told %v", m)
	}
	leave()
	query.End()
	if m := stream.next("followed").data; m["did"] != "left" || m["requests"] != 0.0 {
		t.Errorf("told %v", m)
	}
	for agent, want := range map[string]string{"curl/8.1": "curl", "Mozilla/5.0 (X11; Linux) Gecko": "browser", "": "unnamed", "node": "node"} {
		v, leave := visit(agent, "127.0.0.1:1")
		if v.follower.Name != want || v.follower.Copy != "" {
			t.Errorf("%q is known as %+v, not as %s", agent, v.follower, want)
		}
		leave()
		v.End()
	}
	for i := range 3 * mostFollowers {
		v, leave := visit(fmt.Sprintf("f%d", i), "127.0.0.1:1")
		leave()
		v.End()
	}
	if len(r.followers) > mostFollowers {
		t.Errorf("%d followers are remembered", len(r.followers))
	}
}

func TestRecordingWithoutARecorderIsNothing(t *testing.T) {
	var r *Recorder
	r.Stored(nil, time.Now(), publisher)
	r.Delivered(Delivery{})
	r.StateChanged("a", "up", "")
	v := r.Visited(httptest.NewRequest(http.MethodGet, "/", nil), 0)
	v.Sent(1)
	v.End()
}

func TestLargeBatchIsToldAsOne(t *testing.T) {
	r, log, url := start(t)
	var many []event.Event
	for i := range 1000 {
		many = append(many, newEvent(fmt.Sprint(i), "PostCreated"))
	}
	store(t, r, log, many...)
	store(t, r, log, newEvent("next", "PostCreated"))
	stream := look(t, url, "")
	if m := stream.next("stored").data; m["id"] != "0" || m["last"] != event.Sequence(1000).String() {
		t.Errorf("the batch is told as %v", m)
	}
	if m := stream.next("stored").data; m["id"] != "next" || m["last"] != nil {
		t.Errorf("then %v", m)
	}
}

func BenchmarkRecordAStoredEvent(b *testing.B) {
	r, _, _ := start(b)
	arrived := time.Now()
	positions := []eventlog.Position{{Sequence: 1}}
	for b.Loop() {
		r.Stored(positions, arrived, publisher)
	}
}
