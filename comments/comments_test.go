package main

import (
	"fmt"
	"net/http"
	"slices"
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

// postCreated is a post whose id is its title.
func postCreated(id string) event.Event {
	return event.New("created-"+id, "/posts", event.PostCreated, id, event.Post{ID: id, Title: id})
}

func commentEvent(typ, id, post, content string, status event.Status) event.Event {
	return event.New(typ+"-"+id, "/comments", typ, post, event.Comment{ID: id, PostID: post, Content: content, Status: status})
}

func decode(t *testing.T, a servicetest.Answer, status int) (list []shown) {
	t.Helper()
	if err := json.Unmarshal([]byte(a.Body), &list, json.RejectUnknownMembers(true)); err != nil || a.Status != status {
		t.Fatalf("%d %.300s, want %d and an array (%v)", a.Status, a.Body, status, err)
	}
	return list
}

func comment(t *testing.T, s *servicetest.Service, post, content string, header ...string) []shown {
	t.Helper()
	body, _ := json.Marshal(map[string]string{"content": content})
	return decode(t, s.Post("/posts/"+post+"/comments", string(body), header...), http.StatusCreated)
}

// contents returns "content status" of each comment that a reader gets.
func contents(t *testing.T, s *servicetest.Service, path string) (list []string) {
	t.Helper()
	for _, c := range decode(t, s.Get(path), http.StatusOK) {
		list = append(list, c.Content+" "+string(c.Status))
	}
	return list
}

func expect(t *testing.T, s *servicetest.Service, path string, want ...string) {
	t.Helper()
	wait.Nil(t, fmt.Sprintf("%q", want), func() error {
		if got := contents(t, s, path); !slices.Equal(got, want) {
			return fmt.Errorf("%s answers %q", path, got)
		}
		return nil
	})
}

func TestWriterSeesTheirCommentLast(t *testing.T) {
	b := bustest.New(t)
	b.Add(postCreated("p"))
	s := start(t, b.URL).AwaitReady()
	if a := s.Get("/posts/p/comments"); a.Status != http.StatusOK || a.Body != "[]\n" {
		t.Errorf("without comments: %d %s", a.Status, a.Body)
	}
	first := comment(t, s, "p", "First")
	second := comment(t, s, "p", "Second")
	if len(first) != 1 || first[0].Content != "First" || first[0].Status != "pending" {
		t.Errorf("answer %+v", first)
	}
	if len(second) != 2 || second[0] != (shown{first[0].ID, "", "pending"}) || second[1].Content != "Second" || second[1].Status != "pending" {
		t.Errorf("answer %+v", second)
	}
	e := b.Events()[1]
	var data event.Comment
	if err := json.Unmarshal(e.Data, &data); err != nil || e.Type != event.CommentCreated || e.ID != first[0].ID || e.Subject != "p" ||
		data != (event.Comment{ID: e.ID, PostID: "p", Content: "First", Status: event.Pending}) {
		t.Errorf("published %+v %s", e, e.Data)
	}
}

func TestSameKeyIsTheSameComment(t *testing.T) {
	b := bustest.New(t)
	b.Add(postCreated("p"), postCreated("q"))
	one, two := start(t, b.URL).AwaitReady(), start(t, b.URL).AwaitReady()
	var wg sync.WaitGroup
	for range 5 { // at both copies at once
		for _, s := range []*servicetest.Service{one, two} {
			wg.Go(func() { comment(t, s, "p", "Once", "Idempotency-Key", "k1") })
		}
	}
	wg.Wait()
	comment(t, one, "p", "Another")
	id := event.DeriveID("comments", "p", "k1")
	b.Add(commentEvent(event.CommentUpdated, id, "p", "Once", event.Rejected))
	expect(t, two, "/posts/p/comments", " rejected", " pending")
	again := comment(t, two, "p", "Once", "Idempotency-Key", "k1")
	if len(again) != 1 || again[0] != (shown{id, "Once", "rejected"}) || len(b.Events()) != 5 {
		t.Errorf("again %+v, %d events", again, len(b.Events()))
	}
	for _, s := range []*servicetest.Service{one, two} {
		servicetest.ExpectProblem(t, s.Post("/posts/p/comments", `{"content":"Different"}`, "Idempotency-Key", "k1"), 422, "Idempotency-Key")
	}
	if other := comment(t, one, "q", "Once", "Idempotency-Key", "k1"); other[0].ID == id {
		t.Error("the key on another post is the same comment")
	}
}

func TestUnknownPost(t *testing.T) {
	t.Parallel() // it waits
	b := bustest.New(t)
	s := start(t, b.URL).AwaitReady()
	t.Run("is a 404", func(t *testing.T) {
		servicetest.ExpectProblem(t, s.Post("/posts/nobody/comments", `{"content":"x"}`), 404, "")
	})
	t.Run("that only a comment tells of is a 404", func(t *testing.T) {
		b.Add(commentEvent(event.CommentCreated, "c", "stub", "Early", event.Approved))
		expect(t, s, "/posts/stub/comments", "Early approved")
		servicetest.ExpectProblem(t, s.Post("/posts/stub/comments", `{"content":"x"}`), 404, "")
	})
	t.Run("is waited for, as it may be on its way", func(t *testing.T) {
		done := make(chan []shown)
		go func() { done <- comment(t, s, "soon", "Patient") }()
		b.Add(postCreated("soon"))
		if got := <-done; len(got) != 1 {
			t.Errorf("answer %+v", got)
		}
	})
	t.Run("is a 503 while the bus is away, as it may be in the log", func(t *testing.T) {
		b.Stop()
		servicetest.ExpectProblem(t, s.Post("/posts/nobody/comments", `{"content":"x"}`), http.StatusServiceUnavailable, "")
	})
}

func TestAbsentBusIsA503(t *testing.T) {
	t.Parallel() // it waits
	b := bustest.New(t)
	b.Add(postCreated("p"))
	s := start(t, b.URL).AwaitReady()
	b.Stop()
	began := time.Now()
	a := s.Post("/posts/p/comments", `{"content":"x"}`)
	servicetest.ExpectProblem(t, a, http.StatusServiceUnavailable, "")
	if took := time.Since(began); took > 5*time.Second || a.Header.Get("Retry-After") == "" {
		t.Errorf("Retry-After %q after %v", a.Header.Get("Retry-After"), took)
	}
	if got := contents(t, s, "/posts/p/comments"); len(got) != 0 {
		t.Errorf("comments %q", got)
	}
}

func TestBadInputGetsItsStatusAndASentence(t *testing.T) {
	t.Parallel() // it waits
	b := bustest.New(t)
	b.Add(postCreated("p"), postCreated("__proto__"), postCreated("../x"),
		commentEvent(event.CommentCreated, "other", "__proto__", "x", event.Pending))
	s := start(t, b.URL).AwaitReady()
	const path = "/posts/p/comments"
	tests := []struct {
		name, method, path, body string
		status                   int
		field                    string
	}{
		{"not JSON", "POST", path, "nonsense", 400, ""},
		{"an array", "POST", path, "[1]", 400, ""},
		{"a content that is an object", "POST", path, `{"content":{"a":1}}`, 400, "content"},
		{"a content that is a number", "POST", path, `{"content":1}`, 400, "content"},
		{"invalid UTF-8", "POST", path, "{\"content\":\"\xc3\x28\"}", 400, ""},
		{"no content", "POST", path, `{}`, 422, "content"},
		{"a content of null", "POST", path, `{"content":null}`, 422, "content"},
		{"an empty content", "POST", path, `{"content":"  "}`, 422, "content"},
		{"a content of 10,001 characters", "POST", path, `{"content":"` + strings.Repeat("ä", 10_001) + `"}`, 422, "content"},
		{"a content with NUL", "POST", path, `{"content":"\u0000"}`, 422, "content"},
		{"2 MiB", "POST", path, `{"content":"` + strings.Repeat("x", 2<<20) + `"}`, 413, ""},
		{"a post id of 10 kB", "POST", "/posts/" + strings.Repeat("p", 10_000) + "/comments", `{"content":"x"}`, 404, ""},
		{"reading a post id of 10 kB", "GET", "/posts/" + strings.Repeat("p", 10_000) + "/comments", "", 404, ""},
		{"a post id that is not UTF-8", "POST", "/posts/%ff/comments", `{"content":"x"}`, 404, ""},
		{"limit 0", "GET", path + "?limit=0", "", 422, "limit"},
		{"limit -5", "GET", path + "?limit=-5", "", 422, "limit"},
		{"limit 1e3", "GET", path + "?limit=1e3", "", 422, "limit"},
		{"an unknown after", "GET", path + "?after=nobody", "", 422, "after"},
		{"an after of another post", "GET", path + "?after=other", "", 422, "after"},
		{"an event without a type", "POST", "/events", `{"data":{}}`, 422, "type"},
		{"an event without data", "POST", "/events", `{"type":"CommentCreated"}`, 422, "data"},
		{"a comment without a post", "POST", "/events", `{"type":"CommentCreated","data":{"id":"c","content":"x"}}`, 422, "data"},
		{"a decision without a comment", "POST", "/events", `{"type":"CommentModerated","data":{"status":"approved"}}`, 422, "data"},
		{"an unknown route", "GET", "/posts/p", "", 404, ""},
		{"a wrong method", "PUT", path, "", 405, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			servicetest.ExpectProblem(t, s.Do(test.method, test.path, test.body, "Content-Type", "application/json"), test.status, test.field)
		})
	}
	servicetest.ExpectProblem(t, s.Do("POST", path, `{"content":"x"}`, "Content-Type", "application/x-www-form-urlencoded"), 415, "")
	if n := len(b.Events()); n != 4 {
		t.Errorf("bad input left %d events", n)
	}
	for _, id := range []string{"__proto__", "..%2Fx"} {
		if got := comment(t, s, id, "Fine"); got[len(got)-1].Content != "Fine" {
			t.Errorf("a comment on %s: %+v", id, got)
		}
	}
	for _, body := range []string{`{"type":"Unheard"}`, `{"type":"CommentCreated","data":{"id":"odd","postId":"p","content":5,"status":7}}`} {
		if a := s.Post("/events", body); a.Status != http.StatusOK {
			t.Errorf("%s: %d %s", body, a.Status, a.Body)
		}
	}
	expect(t, s, path, " pending")
}
