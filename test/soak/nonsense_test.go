package soak

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"miniblog/test/harness"
)

const stalledEach = 10 // clients of each kind

// stall connects clients who do not read what they asked for, who do not send all
// that they began, and who do not speak HTTP. They stay for the round.
func (s *soak) stall(t *testing.T) {
	posts, comments, query, moderation := s.Posts.Copies[0], s.Comments.Copies[0], s.Query.Copies[0], s.Moderation.Copies[0]
	newest, _ := s.load.newest.Load().(string)
	sse := []string{"Accept", "text/event-stream"}
	title := `{"title":"x"` + strings.Repeat(" ", 100_000) + `}`
	e := `{"type":"CommentCreated","data":{"id":"c","postId":"p","content":"x"}` + strings.Repeat(" ", 100_000) + `}`
	type client struct {
		process *harness.Process
		sends   string
		upload  bool // that stays unfinished, so that no answer comes
	}
	clients := []client{
		{process: query, sends: harness.RawGet("/posts?limit=1000")},
		{process: query, sends: harness.RawGet("/posts/live?after=0", sse...)},
		{process: posts, sends: harness.RawGet("/posts?limit=1000")},
		{process: comments, sends: harness.RawGet("/posts/" + newest + "/comments?limit=1000")},
		{process: s.Bus, sends: harness.RawGet("/events")},
		{process: s.Bus, sends: harness.RawGet("/events", "Accept", "application/x-ndjson", "Accept-Encoding", "zstd")},
		{process: s.Bus, sends: harness.RawGet("/events?after=0", sse...)},
		{process: posts, sends: harness.RawPost("/posts/create", title, 1), upload: true},
		{process: comments, sends: harness.RawPost("/posts/"+newest+"/comments", title, 1), upload: true},
		{process: moderation, sends: harness.RawPost("/events", e, 1), upload: true},
		{process: s.Bus, sends: harness.RawPost("/events", e, 1), upload: true},
	}
	for _, p := range s.Processes() {
		clients = append(clients, client{process: p, sends: "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"},
			client{process: p, sends: "GET / HTTP/1.1\r\n\r\n"}, client{process: p, sends: harness.RawGet("/", "X-Long", strings.Repeat("x", 2<<20))})
	}
	for _, c := range clients {
		stalled := harness.Stall(t, c.process, stalledEach, func(int) string { return c.sends })
		served := stalled.Answered
		if c.upload {
			served = stalled.Sent
		}
		harness.Eventually(t, limit, func() error {
			if n := served(); n < stalledEach {
				return fmt.Errorf("%s served %d of %d clients that sent %.60q", c.process.Name, n, stalledEach, c.sends)
			}
			return nil
		})
		s.done.stalled += stalledEach
	}
}

// sendNonsense sends requests that are to be refused, and events that are stored
// but are of no use to anybody.
func (s *soak) sendNonsense(t *testing.T) {
	const jsonType, batch = "application/json", "application/cloudevents-batch+json"
	newest, _ := s.load.newest.Load().(string)
	commentsURL := s.CommentsURL + "/posts/" + newest + "/comments" // of an unknown post would be refused unread
	takers := []string{s.PostsURL + "/posts/create", commentsURL, s.PostsURL + "/events", s.CommentsURL + "/events",
		s.QueryURL + "/events", s.Moderation.URL + "/events", s.BusURL + "/events", s.BusURL + "/subscribers/comments/replay"}
	for _, url := range takers {
		for _, body := range []string{"", `{"title":`, "hello", "{}{}", "7", "null", "{}", `{"title":"a","title":"b"}`, "{\"title\":\"\xff\"}",
			`{"title":"\ud800"}`, `{"title":{"a":1},"content":[1],"type":7}`, strings.Repeat("[", 200_000), `{"title":"` + strings.Repeat("x", 2<<20) + `"}`} {
			s.refused(t, http.MethodPost, url, body, jsonType)
		}
		s.refused(t, http.MethodPost, url, `{}`, "text/plain")
		s.refused(t, http.MethodDelete, url, "", "")
	}
	s.refused(t, http.MethodPost, s.CommentsURL+"/posts/unknown/comments", `{"content":"x"}`, jsonType)
	for _, body := range []string{`[]`, `[1]`, `[{"type":"x"},`, `[{"type":"x"},{"data":1}]`} {
		s.refused(t, http.MethodPost, s.BusURL+"/events", body, batch)
	}
	for _, url := range []string{s.PostsURL + "/posts?limit=-1", s.PostsURL + "/posts?before=unknown", s.QueryURL + "/posts?before=%00", s.QueryURL + "/posts/live?after=x",
		s.CommentsURL + "/posts/unknown/comments?after=x", s.BusURL + "/events?after=-1", s.BusURL + "/events?wait=61s", s.Client.URL + "/..%2f..%2fgo.mod"} {
		s.refused(t, http.MethodGet, url, "", "")
	}
	for _, p := range s.Processes() {
		s.refused(t, http.MethodGet, p.URL+"/"+strings.Repeat("y", 10_000), "", "")
	}
	for _, data := range []string{`null`, `[]`, `{"id":7}`, `{"id":"x"}`, `{"id":"p","title":"` + strings.Repeat("x", 100_000) + `"}`,
		strings.Repeat("[", 990) + strings.Repeat("]", 990)} {
		for _, typ := range []string{"PostCreated", "CommentCreated", "CommentModerated", "CommentUpdated", "Other"} {
			event := fmt.Sprintf(`{"type":%q,"subject":"nonsense","data":%s}`, typ, data)
			s.answered(t, 2, http.MethodPost, s.BusURL+"/events", event, jsonType)
		}
	}
}

// refused sends a request and fails the test unless its sender is told that it is
// wrong. A service that looks for the bus again says 503 before.
func (s *soak) refused(t *testing.T, method, url, body, contentType string) {
	t.Helper()
	s.answered(t, 4, method, url, body, contentType)
	s.done.refused++
}

// answered waits for an answer of the given hundred.
func (s *soak) answered(t *testing.T, hundred int, method, url, body, contentType string) {
	t.Helper()
	var header []string
	if contentType != "" {
		header = []string{"Content-Type", contentType}
	}
	harness.Eventually(t, limit, func() error {
		answer, err := harness.Send(t.Context(), method, url, body, header...)
		if err == nil && answer.Status/100 != hundred {
			err = fmt.Errorf("%s %.80s with %.60q answered %d %.200s", method, url, body, answer.Status, answer.Body)
		}
		return err
	})
}
