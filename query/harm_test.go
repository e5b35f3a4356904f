package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"

	"miniblog/internal/bus"
	"miniblog/internal/bus/bustest"
	"miniblog/internal/event"
	"miniblog/internal/feed"
	"miniblog/internal/projection"
	"miniblog/internal/service/servicetest"
	"miniblog/internal/web"
)

func TestEventsByHandCanBeRefused(t *testing.T) {
	s := servicetest.Start(t, open, map[string]string{
		"EVENT_BUS_URL": bustest.New(t).URL, "DATA_DIR": t.TempDir(), "EVENTS_BY_HAND": "refuse"}).AwaitReady()
	servicetest.ExpectProblem(t, s.Post("/events", `{"type":"PostCreated","data":{"id":"p","title":"x"}}`), http.StatusForbidden, "")
	if a := s.Get("/posts"); a.Body != "{}\n" {
		t.Errorf("it was applied: %s", a.Body)
	}
}

func TestTextBeyondTheLimitIsNotKept(t *testing.T) {
	b := bustest.New(t)
	long := strings.Repeat("x", 500_000)
	post := event.New("p", "/x", event.PostCreated, "p", event.Post{ID: "p", Title: long})
	b.Add(post, updated("c", "p", long, event.Approved))
	s := start(t, b)
	if a := s.Get("/posts"); !strings.Contains(a.Body, strings.Repeat("x", event.MaxContent)) || len(a.Body) > event.MaxContent+event.MaxTitle+1000 {
		t.Errorf("the answer has %d bytes", len(a.Body))
	}
}

// FuzzApply hands events with data of any shape to the projection: none of them
// stops it, and applied again they change nothing.
func FuzzApply(f *testing.F) {
	for _, data := range []string{`{"id":"p","title":"T"}`, `{"id":"c","postId":"p","content":"x","status":"approved"}`, `{"id":7}`, `null`,
		`[[]]`, `{"id":"","postId":""}`, `{"id":"c","postId":"p","status":"other"}`, `{"id":"p","title":null}`} {
		f.Add(byte(0), data)
		f.Add(byte(1), data)
		f.Add(byte(2), data)
	}
	var q query
	view, err := projection.Open(projection.Config{Dir: f.TempDir(), Bus: bus.New("http://localhost:1"), Schema: schema, Types: types,
		Apply: q.apply, RolledBack: q.rolledBack, Committed: q.committed})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { view.Close() })
	q.view, q.feed = view, feed.New("", 0)
	shown := func() string {
		w := httptest.NewRecorder()
		web.Handler(q.list).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/posts?limit=1000", nil))
		return w.Body.String()
	}
	f.Fuzz(func(t *testing.T, typ byte, data string) {
		if !jsontext.Value(data).IsValid() {
			t.Skip()
		}
		e := event.Event{Type: []string{event.PostCreated, event.CommentCreated, event.CommentUpdated}[typ%3], ID: "e", Data: jsontext.Value(data)}
		if err := view.ApplyNow(e); err != nil {
			t.Fatalf("%s: %v", data, err)
		}
		once := shown()
		if err := view.ApplyNow(e); err != nil {
			t.Fatalf("%s again: %v", data, err)
		}
		if twice := shown(); twice != once {
			t.Errorf("%s: applied once\n%s\ntwice\n%s", data, once, twice)
		}
		if !jsontext.Value(once).IsValid() {
			t.Errorf("the answer is not JSON: %s", once)
		}
	})
}
