package main

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"miniblog/internal/bus"
	"miniblog/internal/bus/bustest"
	"miniblog/internal/event"
	"miniblog/internal/feed"
	"miniblog/internal/projection"
	"miniblog/internal/service/servicetest"
	"miniblog/internal/web"
	"miniblog/test/wait"
)

func start(t *testing.T, b *bustest.Bus) *servicetest.Service {
	t.Helper()
	return startIn(t, b, t.TempDir()).AwaitReady()
}

func startIn(t *testing.T, b *bustest.Bus, dir string) *servicetest.Service {
	t.Helper()
	return servicetest.Start(t, open, map[string]string{"EVENT_BUS_URL": b.URL, "DATA_DIR": dir})
}

// postCreated is a post whose title is "Title of " and its id.
func postCreated(id string) event.Event {
	return event.New("created-"+id, "/posts", event.PostCreated, id, event.Post{ID: id, Title: "Title of " + id})
}

func created(id, post, content string) event.Event {
	return commentEvent(event.CommentCreated, id, post, content, event.Pending)
}

func updated(id, post, content string, status event.Status) event.Event {
	return commentEvent(event.CommentUpdated, id, post, content, status)
}

func commentEvent(typ, id, post, content string, status event.Status) event.Event {
	return event.New(typ+"-"+id+"-"+string(status), "/comments", typ, post, event.Comment{ID: id, PostID: post, Content: content, Status: status})
}

// push sends an event as a bus without a log does.
func push(t *testing.T, s *servicetest.Service, e event.Event) {
	t.Helper()
	body, _ := json.Marshal(map[string]any{"type": e.Type, "data": e.Data})
	if a := s.Post("/events", string(body)); a.Status != http.StatusOK || a.Body != "{}\n" {
		t.Fatalf("%d %s", a.Status, a.Body)
	}
}

// awaitBody waits until path answers want.
func awaitBody(t *testing.T, s *servicetest.Service, path, want string) {
	t.Helper()
	wait.Nil(t, want, func() error {
		if a := s.Get(path); a.Body != want+"\n" {
			return fmt.Errorf("%s answers %s", path, a.Body)
		}
		return nil
	})
}

func TestPostsWithTheirComments(t *testing.T) {
	b := bustest.New(t)
	s := start(t, b)
	awaitBody(t, s, "/posts", `{}`)
	b.Add(postCreated("b"), postCreated("a"),
		created("c1", "b", "Good"), created("c2", "b", "Bad"), created("c3", "b", "New"),
		updated("c1", "b", "Good", event.Approved), updated("c2", "b", "Bad", event.Rejected))
	awaitBody(t, s, "/posts", `{"a":{"id":"a","title":"Title of a","comments":[],"commentCount":0},`+
		`"b":{"id":"b","title":"Title of b","comments":[{"id":"c1","content":"Good","status":"approved"},`+
		`{"id":"c2","content":"","status":"rejected"},{"id":"c3","content":"","status":"pending"}],"commentCount":3}}`)
	awaitBody(t, s, "/posts?id=a", `{"a":{"id":"a","title":"Title of a","comments":[],"commentCount":0}}`)
	awaitBody(t, s, "/posts/?id=nobody", `{}`)
	if got := s.Get("/posts").Header.Get("Event-Sequence"); got != "00000000000000000007" {
		t.Errorf("Event-Sequence: %s", got)
	}
}

// history is a log with everything in it that is out of the ordinary.
func history() (events []event.Event) {
	events = append(events, updated("early", "p3", "Decided before it came", event.Approved), created("early", "p3", "Decided before it came"))
	for i := range 30 {
		p := fmt.Sprint("p", i%6)
		c := fmt.Sprint("c", i)
		events = append(events, created(c, p, "text"), postCreated(p))
		switch i % 4 {
		case 0:
			events = append(events, updated(c, p, "text", event.Approved))
		case 1:
			events = append(events, updated(fmt.Sprint("c", i/2), fmt.Sprint("p", i/2%6), "text", event.Rejected))
		case 2:
			again := created(c, "p5", "the same id on another post")
			again.ID += "-again"
			events = append(events, again)
		case 3:
			odd := event.New(c+"-odd", "/x", event.CommentCreated, p, jsontext.Value(`{"id":7}`))
			events = append(events, odd, event.New(c+"-other", "/x", "Unheard", p, 1))
		}
	}
	return events
}

func TestCopiesAnswerTheSame(t *testing.T) {
	b := bustest.New(t)
	live := start(t, b)
	for _, e := range history() {
		b.Add(e)
		live.Get("/posts") // calls of apply end at different places
	}
	late := start(t, b)
	wait.For(t, "the same answer", func() bool {
		one, two := live.Get("/posts"), late.Get("/posts")
		return one.Body == two.Body && one.Header.Get("ETag") == two.Header.Get("ETag")
	})
}

func TestReplayTwiceEqualsOnce(t *testing.T) {
	b := bustest.New(t)
	b.Add(history()...)
	s := start(t, b)
	once := s.Get("/posts").Body
	for range 2 {
		for _, e := range history() {
			if e.Check() == nil {
				push(t, s, e)
			}
		}
	}
	if twice := s.Get("/posts").Body; twice != once {
		t.Errorf("after the replay\n%s\nbefore\n%s", twice, once)
	}
}

func TestOrderOfPushesDoesNotMatter(t *testing.T) {
	s := start(t, bustest.NewSimple(t))
	push(t, s, updated("a", "p", "Good", event.Approved))
	push(t, s, created("a", "p", "Good"))
	push(t, s, created("b", "p", "Bad"))
	awaitBody(t, s, "/posts", `{}`)
	push(t, s, postCreated("p"))
	push(t, s, updated("b", "p", "Bad", event.Rejected))
	push(t, s, created("b", "p", "Bad"))
	awaitBody(t, s, "/posts", `{"p":{"id":"p","title":"Title of p","comments":[{"id":"a","content":"Good","status":"approved"},{"id":"b","content":"","status":"rejected"}],"commentCount":2}}`)
}

func TestSimpleBusIsEnough(t *testing.T) {
	b := bustest.NewSimple(t)
	b.Add(postCreated("old"))
	s := start(t, b)
	b.Subscribe(s.URL + "/events")
	resp, err := http.Post(b.URL+"/events", "application/json", strings.NewReader(`{"type":"PostCreated","data":{"id":"1a2b3c4d","title":"New"}}`))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	awaitBody(t, s, "/posts", `{"1a2b3c4d":{"id":"1a2b3c4d","title":"New","comments":[],"commentCount":0},"old":{"id":"old","title":"Title of old","comments":[],"commentCount":0}}`)
}

func TestLostDiskIsBuiltAgain(t *testing.T) {
	b, dir := bustest.New(t), t.TempDir()
	b.Add(history()...)
	s := startIn(t, b, dir).AwaitReady()
	want := s.Get("/posts").Body
	s.Stop()
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
	}
	if got := startIn(t, b, dir).AwaitReady().Get("/posts").Body; got != want {
		t.Errorf("after\n%s\nbefore\n%s", got, want)
	}
}

// TestNothingOfARolledBackTransactionIsRemembered: the thread of a post that was
// taken back would lead its comments to the post that has its place now.
func TestNothingOfARolledBackTransactionIsRemembered(t *testing.T) {
	var q query
	diskFull := true
	view, err := projection.Open(projection.Config{
		Dir: t.TempDir(), Bus: bus.New("http://localhost:1"), Schema: schema,
		Apply: func(tx *projection.Tx, events []event.Event) error {
			if err := q.apply(tx, events); err != nil || !diskFull {
				return err
			}
			return errors.New("the disk is full")
		},
		RolledBack: q.rolledBack, Committed: q.committed,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer view.Close()
	q.view, q.feed = view, feed.New("", 0)
	if err := view.ApplyNow(postCreated("lost")); err == nil {
		t.Fatal("the disk was full and nothing was said")
	}
	diskFull = false
	for _, e := range []event.Event{postCreated("kept"), created("c", "lost", "x"), updated("c", "lost", "x", event.Approved)} {
		if err := view.ApplyNow(e); err != nil {
			t.Fatal(err)
		}
	}
	w := httptest.NewRecorder()
	web.Handler(q.list).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/posts", nil))
	if want := `{"kept":{"id":"kept","title":"Title of kept","comments":[],"commentCount":0}}` + "\n"; w.Body.String() != want {
		t.Errorf("got %s, want %s", w.Body, want)
	}
}

func TestBadInputGetsItsStatusAndASentence(t *testing.T) {
	t.Parallel() // it waits
	b := bustest.New(t)
	b.Add(postCreated("p"))
	s := start(t, b)
	tests := []struct {
		name, method, path, body string
		status                   int
		field                    string
	}{
		{"limit 0", "GET", "/posts?limit=0", "", 422, "limit"},
		{"limit -1", "GET", "/posts?limit=-1", "", 422, "limit"},
		{"limit 1001", "GET", "/posts?limit=1001", "", 422, "limit"},
		{"an absurd limit", "GET", "/posts?limit=1e400", "", 422, "limit"},
		{"an unknown before", "GET", "/posts?before=nobody", "", 422, "before"},
		{"a before of 10 kB", "GET", "/posts?before=" + strings.Repeat("x", 10_000), "", 422, "before"},
		{"a before that is not UTF-8", "GET", "/posts?before=%ff", "", 422, "before"},
		{"an after that is not a sequence", "GET", "/posts/live?after=x", "", 422, "after"},
		{"a negative after", "GET", "/posts/live?after=-1", "", 422, "after"},
		{"an absurd after", "GET", "/posts/live?after=" + strings.Repeat("9", 30), "", 422, "after"},
		{"not JSON", "POST", "/events", "{", 400, ""},
		{"no type", "POST", "/events", "{}", 422, "type"},
		{"data of another shape", "POST", "/events", `{"type":"CommentUpdated","data":"x"}`, 422, "data"},
		{"no id", "POST", "/events", `{"type":"CommentUpdated","data":{"postId":"p"}}`, 422, "data"},
		{"2 MiB", "POST", "/events", `{"type":"` + strings.Repeat("x", 2<<20) + `"}`, 413, ""},
		{"an unknown route", "GET", "/posts/p", "", 404, ""},
		{"a wrong method", "POST", "/posts", "{}", 405, ""},
		{"a wrong method of the stream", "DELETE", "/posts/live", "", 405, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			servicetest.ExpectProblem(t, s.Do(test.method, test.path, test.body, "Content-Type", "application/json"), test.status, test.field)
		})
	}
	servicetest.ExpectProblem(t, s.Do("POST", "/events", `{"type":"x"}`, "Content-Type", "text/html"), 415, "")
	servicetest.ExpectProblem(t, s.Get("/posts/live", "Last-Event-ID", "x"), 422, "Last-Event-ID")
	if a := s.Do("HEAD", "/posts/live", ""); a.Status != http.StatusOK || a.Header.Get("Content-Type") != "text/event-stream" {
		t.Errorf("HEAD of the stream: %d %v", a.Status, a.Header)
	}
	for _, id := range []string{"__proto__", "../x", `"quoted"`, "ü"} {
		push(t, s, postCreated(id))
		if a := s.Get("/posts?id=" + strings.ReplaceAll(id, "ü", "%C3%BC")); !strings.Contains(a.Body, "Title of") || a.Status != http.StatusOK {
			t.Errorf("%s: %d %s", id, a.Status, a.Body)
		}
	}
}

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
