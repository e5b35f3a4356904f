package main

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"miniblog/internal/bus/bustest"
	"miniblog/internal/event"
	"miniblog/internal/service/servicetest"
	"miniblog/test/wait"
)

func TestFirstFiftyCommentsAndTheirCount(t *testing.T) {
	b := bustest.New(t)
	b.Add(postCreated("p"), postCreated("q"))
	for i := range 120 {
		b.Add(created(fmt.Sprintf("c%03d", i), "p", "x"), created(fmt.Sprintf("d%03d", i), "q", "x"))
	}
	for i := range 70 { // deciding is not counting again
		b.Add(updated(fmt.Sprintf("c%03d", i+50), "p", "x", event.Approved))
	}
	s := start(t, b)
	var answer map[string]struct {
		Comments     []struct{ ID string } `json:"comments"`
		CommentCount int                   `json:"commentCount"`
	}
	if err := json.Unmarshal([]byte(s.Get("/posts").Body), &answer, json.MatchCaseInsensitiveNames(true)); err != nil {
		t.Fatal(err)
	}
	if p := answer["p"]; len(p.Comments) != 50 || p.Comments[0].ID != "c000" || p.Comments[49].ID != "c049" || p.CommentCount != 120 {
		t.Errorf("%d comments, count %d", len(p.Comments), p.CommentCount)
	}
}

// ids returns the ids of the posts in an answer, in its order.
func ids(a servicetest.Answer) (list []string) {
	for _, m := range regexp.MustCompile(`[{,]"([^"]*)":\{"id":"`).FindAllStringSubmatch(a.Body, -1) {
		list = append(list, m[1])
	}
	return list
}

// pages follows Link from path to the end.
func pages(t *testing.T, s *servicetest.Service, path string) (list [][]string) {
	t.Helper()
	for path != "" {
		a := s.Get(path)
		list = append(list, ids(a))
		link := a.Header.Get("Link")
		path = strings.TrimSuffix(strings.TrimPrefix(link, "<"), `>; rel="next"`)
		if link != "" && !strings.HasPrefix(path, "/posts?") {
			t.Fatalf("Link: %s", link)
		}
	}
	return list
}

func TestNewestFirstPageByPage(t *testing.T) {
	b := bustest.New(t)
	b.Add(created("c", "stub", "a post that is not there yet takes no place"))
	for i := range 7 {
		b.Add(postCreated(fmt.Sprint("p", i)))
	}
	s := start(t, b)
	if got := fmt.Sprint(pages(t, s, "/posts?limit=3")); got != "[[p6 p5 p4] [p3 p2 p1] [p0]]" {
		t.Errorf("pages %s", got)
	}
	if got := fmt.Sprint(pages(t, s, "/posts")); got != "[[p6 p5 p4 p3 p2 p1 p0]]" {
		t.Errorf("pages %s", got)
	}
}

func TestLongPagesEndBeforeTheirLimit(t *testing.T) {
	b := bustest.New(t)
	for i := range 10 {
		b.Add(postCreated(fmt.Sprint("p", i)))
		for j := range 25 {
			b.Add(updated(fmt.Sprint("c", i, "-", j), fmt.Sprint("p", i), strings.Repeat("x", 40_000), event.Approved))
		}
	}
	s := start(t, b)
	var all []string
	for _, page := range pages(t, s, "/posts?limit=1000") {
		if len(page) > 6 {
			t.Errorf("%d posts of 1 MB in one page", len(page))
		}
		all = append(all, page...)
	}
	if fmt.Sprint(all) != "[p9 p8 p7 p6 p5 p4 p3 p2 p1 p0]" {
		t.Errorf("pages %v", all)
	}
}

func TestETagSaysWhetherAnythingChanged(t *testing.T) {
	b := bustest.New(t)
	b.Add(postCreated("p"))
	s := start(t, b)
	first := s.Get("/posts")
	tag := first.Header.Get("ETag")
	if !regexp.MustCompile(`^"[0-9a-f]{32}"$`).MatchString(tag) {
		t.Fatalf("ETag: %s", tag)
	}
	for _, known := range []string{tag, `"x", ` + tag, "W/" + tag, "*"} {
		a := s.Get("/posts", "If-None-Match", known)
		if a.Status != http.StatusNotModified || a.Body != "" || a.Header.Get("ETag") != tag || a.Header.Get("Event-Sequence") != "00000000000000000001" {
			t.Errorf("If-None-Match: %s: %d %v", known, a.Status, a.Header)
		}
	}
	if a := s.Get("/posts", "If-None-Match", `"x"`); a.Status != http.StatusOK || a.Body != first.Body {
		t.Errorf("another tag: %d %s", a.Status, a.Body)
	}
	b.Add(created("c", "p", "x"))
	wait.For(t, "another tag", func() bool {
		a := s.Get("/posts", "If-None-Match", tag)
		return a.Status == http.StatusOK && a.Header.Get("ETag") != tag
	})
	if a := s.Do(http.MethodHead, "/posts", ""); a.Status != http.StatusOK || a.Body != "" || a.Header.Get("ETag") == "" {
		t.Errorf("HEAD: %d %v", a.Status, a.Header)
	}
}

// TestPageAfterAPostOfAnotherCopyWaitsForIt: it may not be in this copy yet.
func TestPageAfterAPostOfAnotherCopyWaitsForIt(t *testing.T) {
	b := bustest.New(t)
	s := start(t, b)
	answer := make(chan servicetest.Answer)
	go func() { answer <- s.Get("/posts?before=late") }()
	select {
	case a := <-answer:
		t.Fatalf("%d %s at once", a.Status, a.Body)
	case <-time.After(50 * time.Millisecond):
	}
	b.Add(postCreated("late"))
	if a := <-answer; a.Status != http.StatusOK {
		t.Errorf("%d %s", a.Status, a.Body)
	}
}
