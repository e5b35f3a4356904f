package main

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"miniblog/internal/bus/bustest"
	"miniblog/internal/event"
	"miniblog/internal/service/servicetest"
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
	var got []string
	servicetest.Await(t, fmt.Sprintf("%s: %q (got %q)", path, want, got), func() bool {
		got = contents(t, s, path)
		return fmt.Sprint(got) == fmt.Sprint(want)
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

func TestTextIsWithheldUntilApproved(t *testing.T) {
	b := bustest.New(t)
	s := start(t, b.URL)
	b.Add(postCreated("p"),
		commentEvent(event.CommentCreated, "a", "p", "Good", event.Pending),
		commentEvent(event.CommentCreated, "b", "p", "Bad", event.Pending),
		commentEvent(event.CommentCreated, "c", "p", "New", event.Pending),
		commentEvent(event.CommentUpdated, "a", "p", "Good", event.Approved),
		commentEvent(event.CommentUpdated, "b", "p", "Bad", event.Rejected))
	expect(t, s, "/posts/p/comments", "Good approved", " rejected", " pending")
}

func TestDecisionIsPublishedOnce(t *testing.T) {
	b := bustest.New(t)
	s := start(t, b.URL).AwaitReady()
	moderated := commentEvent(event.CommentModerated, "a", "p", "Good", event.Approved)
	body, _ := json.Marshal(moderated)
	for range 3 {
		if a := s.Post("/events", string(body)); a.Status != http.StatusOK || a.Body != "{}\n" {
			t.Fatalf("%d %s", a.Status, a.Body)
		}
	}
	stored := b.Events()
	if len(stored) != 1 {
		t.Fatalf("%d events", len(stored))
	}
	var data event.Comment
	if err := json.Unmarshal(stored[0].Data, &data); err != nil || stored[0].Type != event.CommentUpdated || stored[0].Subject != "p" ||
		stored[0].ID != moderated.ID+"/CommentUpdated" || data != (event.Comment{ID: "a", PostID: "p", Content: "Good", Status: event.Approved}) {
		t.Errorf("published %+v %s (%v)", stored[0], stored[0].Data, err)
	}
	t.Run("one without an id, as the course's services send it", func(t *testing.T) {
		for range 2 {
			s.Post("/events", `{"type":"CommentModerated","data":{"id":"b","postId":"p","content":"x","status":"rejected"}}`)
		}
		if n := len(b.Events()); n != 2 {
			t.Errorf("%d events", n)
		}
	})
	t.Run("one that decides nothing has no consequence", func(t *testing.T) {
		if a := s.Post("/events", `{"type":"CommentModerated","data":{"id":"c","postId":"p","content":"x","status":"pending"}}`); a.Status != http.StatusOK || len(b.Events()) != 2 {
			t.Errorf("%d, %d events", a.Status, len(b.Events()))
		}
	})
	t.Run("while the bus is away it is a 503, to be delivered again", func(t *testing.T) {
		b.Stop()
		servicetest.ExpectProblem(t, s.Post("/events", strings.ReplaceAll(string(body), "-a", "-d")), http.StatusServiceUnavailable, "")
	})
}

// TestCommentIsDecidedOnce: whatever is delivered again or decided again, the
// first decision in the log stays.
func TestCommentIsDecidedOnce(t *testing.T) {
	b := bustest.New(t)
	first := commentEvent(event.CommentModerated, "a", "p", "Good", event.Approved)
	again := commentEvent(event.CommentModerated, "a", "p", "Good", event.Rejected)
	again.ID += "-again"
	b.Add(postCreated("p"), commentEvent(event.CommentCreated, "a", "p", "Good", event.Pending), first, again)
	first.Sequence, again.Sequence = 3, 4
	s := start(t, b.URL).AwaitReady()
	push := func(e event.Event) servicetest.Answer {
		t.Helper()
		body, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		return s.Post("/events", string(body), "Accept", "application/cloudevents+json, application/cloudevents-batch+json")
	}
	for range 2 {
		a := push(again)
		if a.Status != http.StatusOK || a.Body != "{}\n" {
			t.Errorf("the second decision: %d %s", a.Status, a.Body)
		}
		a = push(first)
		var reply event.Event
		if err := json.Unmarshal([]byte(a.Body), &reply); err != nil || a.Status != http.StatusOK || a.Header.Get("Content-Type") != "application/cloudevents+json" {
			t.Fatalf("the first decision: %d %s %s", a.Status, a.Header.Get("Content-Type"), a.Body)
		}
		comment, err := reply.Comment()
		if err != nil || reply.Type != event.CommentUpdated || reply.ID != first.ID+"/CommentUpdated" || comment.Status != event.Approved {
			t.Errorf("the first decision: %s", a.Body)
		}
	}
	if n := len(b.Events()); n != 4 {
		t.Errorf("replies were published as well: %d events", n)
	}
	t.Run("one that is not yet in the projection is a 503, to be delivered again", func(t *testing.T) {
		if testing.Short() {
			t.Skip("it waits for 5 s")
		}
		early := commentEvent(event.CommentModerated, "b", "p", "x", event.Approved)
		early.Sequence = 9
		servicetest.ExpectProblem(t, push(early), http.StatusServiceUnavailable, "")
	})
}

func TestEventsByHandCanBeRefused(t *testing.T) {
	b := bustest.New(t)
	s := servicetest.Start(t, open, map[string]string{"EVENT_BUS_URL": b.URL, "DATA_DIR": t.TempDir(), "EVENTS_BY_HAND": "refuse"}).AwaitReady()
	for _, e := range []event.Event{postCreated("p"), commentEvent(event.CommentModerated, "a", "p", "x", event.Approved)} {
		body, _ := json.Marshal(e)
		servicetest.ExpectProblem(t, s.Post("/events", string(body)), http.StatusForbidden, "")
	}
	if a := s.Post("/events", `{"type":"PostCreated","sequence":"00000000000000000001","data":{"id":"p","title":"T"}}`); a.Status != http.StatusOK {
		t.Errorf("with a sequence: %d %s", a.Status, a.Body)
	}
}

func TestContentBeyondTheLimitIsNotKept(t *testing.T) {
	b := bustest.New(t)
	b.Add(postCreated("p"), commentEvent(event.CommentCreated, "a", "p", strings.Repeat("ä", 300_000), event.Approved))
	s := start(t, b.URL).AwaitReady()
	expect(t, s, "/posts/p/comments", strings.Repeat("ä", 10_000)+" approved")
}

// TestPageAfterACommentOfAnotherCopyWaitsForIt: it may not be in this copy yet.
func TestPageAfterACommentOfAnotherCopyWaitsForIt(t *testing.T) {
	b := bustest.New(t)
	b.Add(postCreated("p"))
	s := start(t, b.URL).AwaitReady()
	answer := make(chan servicetest.Answer)
	go func() { answer <- s.Get("/posts/p/comments?after=late") }()
	select {
	case a := <-answer:
		t.Fatalf("%d %s at once", a.Status, a.Body)
	case <-time.After(50 * time.Millisecond):
	}
	b.Add(event.New("late", "/comments", event.CommentCreated, "p", event.Comment{ID: "late", PostID: "p", Content: "x", Status: event.Pending}))
	if a := <-answer; a.Status != http.StatusOK {
		t.Errorf("%d %s", a.Status, a.Body)
	}
}

func TestCommentsPageByPage(t *testing.T) {
	b := bustest.New(t)
	b.Add(postCreated("p"), postCreated("q"))
	for i := range 7 {
		b.Add(commentEvent(event.CommentCreated, fmt.Sprint("c", i), "p", fmt.Sprint(i), event.Approved))
		b.Add(commentEvent(event.CommentCreated, fmt.Sprint("other", i), "q", "x", event.Approved))
	}
	s := start(t, b.URL).AwaitReady()
	var got []string
	for path := "/posts/p/comments?limit=3"; path != ""; {
		a := s.Get(path)
		for _, c := range decode(t, a, http.StatusOK) {
			got = append(got, c.Content)
		}
		got = append(got, "|")
		path = strings.TrimSuffix(strings.TrimPrefix(a.Header.Get("Link"), "<"), `>; rel="next"`)
	}
	if fmt.Sprint(got) != "[0 1 2 | 3 4 5 | 6 |]" {
		t.Errorf("pages %v", got)
	}
}

func TestAnswerHoldsTheNewestThousand(t *testing.T) {
	b := bustest.New(t)
	b.Add(postCreated("p"))
	for i := range 1200 {
		b.Add(commentEvent(event.CommentCreated, fmt.Sprint("c", i), "p", fmt.Sprint(i), event.Approved))
	}
	s := start(t, b.URL).AwaitReady()
	got := comment(t, s, "p", "New")
	if len(got) != 1000 || got[0].Content != "201" || got[999].Content != "New" {
		t.Errorf("%d comments, from %q to %q", len(got), got[0].Content, got[len(got)-1].Content)
	}
}

func TestLongAnswersEndBeforeTheirLimit(t *testing.T) {
	b := bustest.New(t)
	b.Add(postCreated("p"))
	for i := range 300 {
		b.Add(commentEvent(event.CommentCreated, fmt.Sprint("c", i), "p", strings.Repeat("😀", 10_000), event.Approved))
	}
	s := start(t, b.URL).AwaitReady()
	total := 0
	for path := "/posts/p/comments?limit=1000"; path != ""; {
		a := s.Get(path)
		if len(a.Body) > 1<<20 {
			t.Errorf("an answer of %d bytes", len(a.Body))
		}
		total += len(decode(t, a, http.StatusOK))
		path = strings.TrimSuffix(strings.TrimPrefix(a.Header.Get("Link"), "<"), `>; rel="next"`)
	}
	if total != 300 {
		t.Errorf("%d comments in all", total)
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

func TestOrderOfPushesDoesNotMatter(t *testing.T) {
	b := bustest.NewSimple(t)
	s := start(t, b.URL).AwaitReady()
	push := func(e event.Event) {
		t.Helper()
		body, _ := json.Marshal(map[string]any{"type": e.Type, "data": e.Data}) // as the course's bus sends it
		if a := s.Post("/events", string(body)); a.Status != http.StatusOK {
			t.Fatalf("%d %s", a.Status, a.Body)
		}
	}
	push(commentEvent(event.CommentUpdated, "a", "p", "Good", event.Approved))
	push(commentEvent(event.CommentCreated, "a", "p", "Good", event.Pending))
	push(commentEvent(event.CommentCreated, "b", "p", "Bad", event.Pending))
	push(commentEvent(event.CommentUpdated, "b", "p", "Bad", event.Rejected))
	push(commentEvent(event.CommentCreated, "b", "p", "Bad", event.Pending))
	push(postCreated("p"))
	push(postCreated("p"))
	expect(t, s, "/posts/p/comments", "Good approved", " rejected")
	if got := comment(t, s, "p", "Mine"); len(got) != 3 || got[2].Content != "Mine" {
		t.Errorf("answer %+v", got)
	}
}

func TestCopiesAnswerTheSame(t *testing.T) {
	b := bustest.New(t)
	s := start(t, b.URL).AwaitReady()
	b.Add(commentEvent(event.CommentUpdated, "early", "p1", "Early", event.Approved))
	for i := range 50 {
		b.Add(postCreated(fmt.Sprint("p", i%7)), commentEvent(event.CommentCreated, fmt.Sprint("c", i), fmt.Sprint("p", i%7), "text", event.Pending))
		s.Get("/posts/p0/comments") // batches end at different places
		b.Add(commentEvent(event.CommentUpdated, fmt.Sprint("c", i/2), fmt.Sprint("p", i/2%7), "text", event.Approved))
	}
	late := start(t, b.URL).AwaitReady()
	for i := range 7 {
		path := fmt.Sprintf("/posts/p%d/comments", i)
		servicetest.Await(t, "the same answer to "+path, func() bool { return s.Get(path).Body == late.Get(path).Body })
	}
}

func TestAbsentBusIsA503(t *testing.T) {
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
