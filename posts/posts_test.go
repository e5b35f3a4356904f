package main

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"miniblog/internal/bus/bustest"
	"miniblog/internal/event"
	"miniblog/internal/service/servicetest"
	"miniblog/test/wait"
)

func start(t *testing.T, busURL string) *servicetest.Service {
	t.Helper()
	return servicetest.Start(t, open, map[string]string{"EVENT_BUS_URL": busURL, "DATA_DIR": t.TempDir()})
}

// create creates a post and returns it.
func create(t *testing.T, s *servicetest.Service, title string, header ...string) event.Post {
	t.Helper()
	body, _ := json.Marshal(map[string]string{"title": title})
	a := s.Post("/posts/create", string(body), header...)
	var post event.Post
	if a.Status != http.StatusCreated || json.Unmarshal([]byte(a.Body), &post) != nil {
		t.Fatalf("creating %q: %d %s", title, a.Status, a.Body)
	}
	return post
}

// titles returns the titles of an answer of GET /posts, in its order.
func titles(a servicetest.Answer) (list string) {
	for _, m := range regexp.MustCompile(`"title":"([^"]*)"`).FindAllStringSubmatch(a.Body, -1) {
		list += m[1] + " "
	}
	return list
}

func TestPostIsPublishedAndReadAtOnce(t *testing.T) {
	b := bustest.New(t)
	s := start(t, b.URL).AwaitReady()
	post := create(t, s, "  Hello,\n  world ")
	if post.Title != "Hello,\n  world" || post.ID == "" {
		t.Errorf("created %+v", post)
	}
	stored := b.Events()
	if len(stored) != 1 || stored[0].Type != event.PostCreated || stored[0].ID != post.ID || stored[0].Subject != post.ID || stored[0].Source != "/posts" {
		t.Errorf("published %+v", stored)
	}
	want := fmt.Sprintf(`{%q:{"id":%[1]q,"title":"Hello,\n  world"}}`+"\n", post.ID)
	if a := s.Get("/posts"); a.Status != http.StatusOK || a.Body != want || a.Header.Get("Content-Type") != "application/json" {
		t.Errorf("listed %d %s, want %s", a.Status, a.Body, want)
	}
}

func TestTitleBeyondTheLimitIsNotKept(t *testing.T) {
	b := bustest.New(t)
	b.Add(event.New("long", "/elsewhere", event.PostCreated, "p", event.Post{ID: "p", Title: strings.Repeat("ä", 300_000)}))
	s := start(t, b.URL).AwaitReady()
	if got := titles(s.Get("/posts")); got != strings.Repeat("ä", 200)+" " {
		t.Errorf("a title of %d bytes is kept", len(got))
	}
}

func TestNewestFirstPageByPage(t *testing.T) {
	b := bustest.New(t)
	s := start(t, b.URL).AwaitReady()
	if a := s.Get("/posts"); a.Body != "{}\n" || a.Header.Get("Link") != "" {
		t.Errorf("without posts: %s", a.Body)
	}
	for i := range 7 {
		create(t, s, fmt.Sprint(i))
	}
	var got []string
	for path := "/posts?limit=3"; path != ""; {
		a := s.Get(path)
		got = append(got, titles(a))
		link := a.Header.Get("Link")
		path = strings.TrimSuffix(strings.TrimPrefix(link, "<"), `>; rel="next"`)
		if link != "" && !strings.HasPrefix(path, "/posts?") {
			t.Fatalf("Link: %s", link)
		}
	}
	if fmt.Sprint(got) != "[6 5 4  3 2 1  0 ]" {
		t.Errorf("pages %q", got)
	}
}

// TestPageAfterOneOfAnotherCopyWaitsForIt: the post that ended the page may not be
// in this copy yet.
func TestPageAfterOneOfAnotherCopyWaitsForIt(t *testing.T) {
	b := bustest.New(t)
	s := start(t, b.URL).AwaitReady()
	create(t, s, "Older")
	answer := make(chan servicetest.Answer)
	go func() { answer <- s.Get("/posts?before=late") }()
	select {
	case a := <-answer:
		t.Fatalf("%d %s at once", a.Status, a.Body)
	case <-time.After(50 * time.Millisecond):
	}
	b.Add(event.New("late", "/posts", event.PostCreated, "late", event.Post{ID: "late", Title: "Late"}))
	if a := <-answer; titles(a) != "Older " {
		t.Errorf("%d %s", a.Status, a.Body)
	}
}

func TestSameKeyIsTheSamePost(t *testing.T) {
	b := bustest.New(t)
	one, two := start(t, b.URL).AwaitReady(), start(t, b.URL).AwaitReady()
	var wg sync.WaitGroup
	for range 5 { // at both copies at once
		for _, s := range []*servicetest.Service{one, two} {
			wg.Go(func() { create(t, s, "Once", "Idempotency-Key", "k1") })
		}
	}
	wg.Wait()
	post := create(t, two, "Once", "Idempotency-Key", "k1")
	if post.ID != event.DeriveID("posts", "k1") || len(b.Events()) != 1 {
		t.Errorf("post %+v, %d events", post, len(b.Events()))
	}
	for name, s := range map[string]*servicetest.Service{"the copy that created it": one, "the other": two} {
		a := s.Post("/posts/create", `{"title":"Another"}`, "Idempotency-Key", "k1")
		if a.Status != http.StatusUnprocessableEntity || !strings.Contains(a.Body, `"field":"Idempotency-Key"`) {
			t.Errorf("another title at %s: %d %s", name, a.Status, a.Body)
		}
	}
	if other := create(t, one, "Once", "Idempotency-Key", "k2"); other.ID == post.ID {
		t.Error("another key is the same post")
	}
}

func TestAbsentBusIsA503AndTheKeyMakesOnePost(t *testing.T) {
	t.Parallel() // it waits
	b := bustest.New(t)
	s := start(t, b.URL).AwaitReady()
	b.Stop()
	began := time.Now()
	a := s.Post("/posts/create", `{"title":"Patience"}`, "Idempotency-Key", "k")
	if a.Status != http.StatusServiceUnavailable || a.Header.Get("Retry-After") == "" || a.Header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("%d %v %s", a.Status, a.Header, a.Body)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("the answer took %v", took)
	}
	if a := s.Get("/readyz"); a.Status != http.StatusOK {
		t.Errorf("readyz while the bus is away: %d", a.Status)
	}
	b.Restart(t)
	for range 2 {
		create(t, s, "Patience", "Idempotency-Key", "k")
	}
	if n := len(b.Events()); n != 1 {
		t.Errorf("%d events", n)
	}
}

func TestWithASimpleBus(t *testing.T) {
	b := bustest.NewSimple(t)
	s := start(t, b.URL).AwaitReady()
	b.Subscribe(s.URL + "/events")
	create(t, s, "One")
	if got := titles(s.Get("/posts")); got != "One " {
		t.Errorf("listed %q", got)
	}
	resp, err := http.Post(b.URL+"/events", "application/json", strings.NewReader(`{"type":"PostCreated","data":{"id":"1a2b3c4d","title":"Two"}}`))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	wait.For(t, "the pushed post", func() bool { return titles(s.Get("/posts")) == "Two One " })
	create(t, s, "Keyed", "Idempotency-Key", "k")
	create(t, s, "Keyed", "Idempotency-Key", "k")
	if got := titles(s.Get("/posts")); got != "Keyed Two One " {
		t.Errorf("listed %q", got)
	}
}

func TestStrangeIDsAreTakenAsTheyAre(t *testing.T) {
	b := bustest.New(t)
	s := start(t, b.URL).AwaitReady()
	for _, id := range []string{"__proto__", "../x", `"`, "1a2b3c4d", "ü"} {
		data, _ := json.Marshal(event.Post{ID: id, Title: "T"})
		if a := s.Post("/events", fmt.Sprintf(`{"type":"PostCreated","data":%s}`, data)); a.Status != http.StatusOK || a.Body != "{}\n" {
			t.Errorf("%q: %d %s", id, a.Status, a.Body)
		}
	}
	var all map[string]event.Post
	a := s.Get("/posts")
	if err := json.Unmarshal([]byte(a.Body), &all); err != nil || len(all) != 5 || all["__proto__"].ID != "__proto__" || all[`"`].ID != `"` {
		t.Errorf("%s (%v)", a.Body, err)
	}
}

func TestBadInputGetsItsStatusAndASentence(t *testing.T) {
	t.Parallel() // it waits
	b := bustest.New(t)
	s := start(t, b.URL).AwaitReady()
	create(t, s, "There")
	tests := []struct {
		name, method, path, body string
		status                   int
		field                    string
	}{
		{"not JSON", "POST", "/posts/create", "{", 400, ""},
		{"an array", "POST", "/posts/create", "[]", 400, ""},
		{"a title that is an object", "POST", "/posts/create", `{"title":{"a":1}}`, 400, "title"},
		{"a title that is a number", "POST", "/posts/create", `{"title":1}`, 400, "title"},
		{"a title that is an array", "POST", "/posts/create", `{"title":["x"]}`, 400, "title"},
		{"invalid UTF-8", "POST", "/posts/create", "{\"title\":\"\xff\"}", 400, ""},
		{"no title", "POST", "/posts/create", `{}`, 422, "title"},
		{"a title of null", "POST", "/posts/create", `{"title":null}`, 422, "title"},
		{"a title of spaces", "POST", "/posts/create", `{"title":" \n "}`, 422, "title"},
		{"a title of 201 characters", "POST", "/posts/create", `{"title":"` + strings.Repeat("ä", 201) + `"}`, 422, "title"},
		{"a title with NUL", "POST", "/posts/create", `{"title":"a\u0000b"}`, 422, "title"},
		{"2 MiB", "POST", "/posts/create", `{"title":"` + strings.Repeat("x", 2<<20) + `"}`, 413, ""},
		{"limit 0", "GET", "/posts?limit=0", "", 422, "limit"},
		{"limit -1", "GET", "/posts?limit=-1", "", 422, "limit"},
		{"limit 1001", "GET", "/posts?limit=1001", "", 422, "limit"},
		{"limit x", "GET", "/posts?limit=x", "", 422, "limit"},
		{"an absurd limit", "GET", "/posts?limit=99999999999999999999", "", 422, "limit"},
		{"an unknown before", "GET", "/posts?before=nobody", "", 422, "before"},
		{"a before of 10 kB", "GET", "/posts?before=" + strings.Repeat("x", 10_000), "", 422, "before"},
		{"an event without a type", "POST", "/events", `{}`, 422, "type"},
		{"an event with data of another shape", "POST", "/events", `{"type":"PostCreated","data":[1]}`, 422, "data"},
		{"an event without data", "POST", "/events", `{"type":"PostCreated"}`, 422, "data"},
		{"an event without an id of its post", "POST", "/events", `{"type":"PostCreated","data":{"title":"x"}}`, 422, "data"},
		{"a post id of 10 kB", "POST", "/events", `{"type":"PostCreated","data":{"id":"` + strings.Repeat("x", 10_000) + `","title":"x"}}`, 422, "data"},
		{"an unknown route", "GET", "/nothing", "", 404, ""},
		{"a wrong method", "DELETE", "/posts", "", 405, ""},
		{"GET of what is only for POST", "GET", "/posts/create", "", 405, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			a := s.Do(test.method, test.path, test.body, "Content-Type", "application/json")
			servicetest.ExpectProblem(t, a, test.status, test.field)
		})
	}
	t.Run("a wrong content type", func(t *testing.T) {
		servicetest.ExpectProblem(t, s.Do("POST", "/posts/create", `{"title":"x"}`, "Content-Type", "text/plain"), 415, "")
		servicetest.ExpectProblem(t, s.Do("POST", "/posts/create", `{"title":"x"}`), 415, "")
		servicetest.ExpectProblem(t, s.Do("POST", "/events", `{"type":"x"}`), 415, "")
	})
	t.Run("a key that is too long", func(t *testing.T) {
		servicetest.ExpectProblem(t, s.Post("/posts/create", `{"title":"x"}`, "Idempotency-Key", strings.Repeat("k", 256)), 422, "Idempotency-Key")
	})
	t.Run("an event of a type that is not known is taken", func(t *testing.T) {
		for _, body := range []string{`{"type":"Unheard","data":5}`, `{"type":"CommentModerated","data":{"id":"c","postId":"p"}}`} {
			if a := s.Post("/events", body); a.Status != http.StatusOK || a.Body != "{}\n" {
				t.Errorf("%s: %d %s", body, a.Status, a.Body)
			}
		}
	})
	if got := titles(s.Get("/posts")); got != "There " || len(b.Events()) != 1 {
		t.Errorf("bad input left %q, %d events", got, len(b.Events()))
	}
}

func TestEventsByHandCanBeRefused(t *testing.T) {
	s := servicetest.Start(t, open, map[string]string{"EVENT_BUS_URL": bustest.New(t).URL, "DATA_DIR": t.TempDir(), "EVENTS_BY_HAND": "refuse"}).AwaitReady()
	servicetest.ExpectProblem(t, s.Post("/events", `{"type":"PostCreated","data":{"id":"p","title":"x"}}`), http.StatusForbidden, "")
	if a := s.Get("/posts"); a.Body != "{}\n" {
		t.Errorf("it was applied: %s", a.Body)
	}
}
