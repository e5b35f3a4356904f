package blog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"miniblog/test/harness"
)

// limit is how long anything may take that takes a moment. It is long because
// a busy machine is no error.
const limit = 30 * time.Second

// decided waits until every one of count comments of a post is decided, in
// query's answer and in that of comments, and returns them oldest first.
func decided(t *testing.T, api harness.API, postID string, count int) (comments []harness.Comment) {
	t.Helper()
	harness.Eventually(t, limit, func() error {
		all, err := api.ListComments(t.Context(), postID)
		if err != nil {
			return err
		}
		post, err := find(t.Context(), api, postID)
		if err != nil {
			return err
		}
		if len(all) != count || post.CommentCount != count {
			return fmt.Errorf("%d comments at comments and %d at query, not %d", len(all), post.CommentCount, count)
		}
		for _, c := range append(post.Comments, all...) {
			if c.Status == "pending" {
				return fmt.Errorf("comment %s is pending", c.ID)
			}
		}
		comments = all
		return nil
	})
	return comments
}

var errNoPost = errors.New("query does not know the post")

// find returns a post as query has it.
func find(ctx context.Context, api harness.API, postID string) (harness.Post, error) {
	posts, err := api.FindPosts(ctx, postID)
	if err == nil && len(posts) == 0 {
		err = errNoPost
	}
	if err != nil {
		return harness.Post{}, err
	}
	return posts[0], nil
}

// byType counts the events of a log.
func byType(events []harness.Event) map[string]int {
	count := map[string]int{}
	for _, e := range events {
		count[e.Type]++
	}
	return count
}

// storedOnce fails the test if an id is in the log twice, or if its sequences
// are not dense.
func storedOnce(t *testing.T, events []harness.Event) {
	t.Helper()
	seen := map[string]bool{}
	for i, e := range events {
		if seen[e.ID] {
			t.Errorf("the event %s (%s) is in the log twice", e.ID, e.Type)
		}
		seen[e.ID] = true
		if want := fmt.Sprintf("%020d", i+1); e.Sequence != want {
			t.Errorf("event %s has the sequence %s, not %s", e.ID, e.Sequence, want)
		}
	}
}

// caughtUp waits until every subscriber of the bus has all events.
func caughtUp(t *testing.T, api harness.API) {
	t.Helper()
	harness.Eventually(t, limit, func() error {
		subscribers, err := api.ListSubscribers(t.Context())
		if err != nil {
			return err
		}
		for _, s := range subscribers {
			if s.Lag > 0 || s.DeadLetterCount > 0 {
				return fmt.Errorf("subscriber %s is %s: %d events behind, %d dead letters, last error %q", s.Name, s.State, s.Lag, s.DeadLetterCount, s.LastError)
			}
		}
		return nil
	})
}

// checkProblem fails the test unless an answer is a problem as RFC 9457 has it,
// with a sentence that helps, about the given field unless that is "".
func checkProblem(t *testing.T, answer *harness.Answer, status int, field string) {
	t.Helper()
	if answer.Status != status {
		t.Errorf("answered %d %.300s, not %d", answer.Status, answer.Body, status)
		return
	}
	if contentType := answer.Header.Get("Content-Type"); contentType != "application/problem+json" {
		t.Errorf("%d has the content type %q, not a problem's: %.300s", status, contentType, answer.Body)
	}
	var problem struct {
		Type, Title, Detail, Field string
		Status                     int
	}
	if err := json.Unmarshal(answer.Body, &problem); err != nil {
		t.Errorf("the problem is not JSON: %v in %.300s", err, answer.Body)
	}
	if problem.Status != status || problem.Type == "" || problem.Title != http.StatusText(status) {
		t.Errorf("the problem is %.300s, which does not say %d %s", answer.Body, status, http.StatusText(status))
	}
	if !strings.HasSuffix(problem.Detail, ".") || len(problem.Detail) < 15 || len(problem.Detail) > 600 {
		t.Errorf("the detail is no sentence that helps: %.700q", problem.Detail)
	}
	if problem.Field != field {
		t.Errorf("the problem is about the field %q, not %q: %s", problem.Field, field, problem.Detail)
	}
}
