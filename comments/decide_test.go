package main

import (
	"net/http"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"

	"miniblog/internal/bus/bustest"
	"miniblog/internal/event"
	"miniblog/internal/service/servicetest"
)

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
	t.Parallel() // it waits
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
	t.Parallel() // it waits
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
	forged := again
	forged.Sequence = first.Sequence
	if a := push(forged); a.Status != http.StatusOK || a.Body != "{}\n" {
		t.Errorf("another decision that says it is the first: %d %s", a.Status, a.Body)
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
