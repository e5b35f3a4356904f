package main

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"miniblog/internal/bus/bustest"
	"miniblog/internal/event"
	"miniblog/internal/service/servicetest"
	"miniblog/test/wait"
)

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
		wait.For(t, "the same answer to "+path, func() bool { return s.Get(path).Body == late.Get(path).Body })
	}
}
