package blog

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"miniblog/test/harness"
)

// statusOf returns how a subscriber is doing.
func statusOf(t *testing.T, blog *harness.Blog, name string) (s harness.SubscriberStatus, err error) {
	list, err := blog.ListSubscribers(t.Context())
	for _, s := range list {
		if s.Name == name {
			return s, nil
		}
	}
	return s, fmt.Errorf("there is no subscriber %s among %v: %w", name, list, err)
}

// awaitDecision waits until a comment has a status.
func awaitDecision(t *testing.T, blog *harness.Blog, postID string, comment harness.Comment, status string) {
	t.Helper()
	harness.Eventually(t, 30*time.Second, func() error {
		comments, err := blog.ListComments(t.Context(), postID)
		for _, c := range comments {
			if c.ID == comment.ID && c.Status == status {
				return nil
			}
		}
		return fmt.Errorf("the comment is not %s: %v, %w", status, comments, err)
	})
}

// An event that nested as deep as JSON allows could not become a dead letter: it
// was tried again for ever, and 8,192 events later nothing was moderated any more.
func TestEventThatModerationCannotUseKeepsNobodyWaiting(t *testing.T) {
	t.Parallel()
	blog := harness.StartBlog(t, harness.Config{})
	post := blog.MustPost(t, "Deep")
	publish := func(depth int) (status int) {
		body := fmt.Sprintf(`{"type":"CommentCreated","subject":%q,"data":%s%s}`, post.ID, strings.Repeat("[", depth), strings.Repeat("]", depth))
		answer, err := harness.Send(t.Context(), "POST", blog.Bus.URL+"/events", body, "Content-Type", "application/json")
		if err != nil {
			t.Fatal(err)
		}
		return answer.Status
	}
	if status := publish(9_998); status != http.StatusUnprocessableEntity {
		t.Errorf("an event that nests 9,999 deep is answered with %d", status)
	}
	if status := publish(990); status != http.StatusOK {
		t.Fatalf("an event that nests as deep as is allowed is answered with %d", status)
	}
	awaitDecision(t, blog, post.ID, blog.MustComment(t, post.ID, "After it, of the same post."), "approved")
	harness.Eventually(t, 30*time.Second, func() error {
		s, err := statusOf(t, blog, "moderation")
		if err == nil && (s.DeadLetterCount != 1 || s.Lag > 0 || s.State != "up") {
			err = fmt.Errorf("moderation is %+v", s)
		}
		return err
	})
	var letters []struct {
		Status int
		Event  struct{ Data json.RawMessage }
	}
	answer, err := harness.Send(t.Context(), "GET", blog.Bus.URL+"/subscribers/moderation/dead-letters", "")
	if err == nil {
		err = json.Unmarshal(answer.Body, &letters)
	}
	if err != nil || len(letters) != 1 || letters[0].Status != http.StatusUnprocessableEntity || len(letters[0].Event.Data) != 2*990 {
		t.Errorf("the dead letters are %.300s, %v", answer.Body, err)
	}
	answer, err = harness.Send(t.Context(), "POST", blog.Bus.URL+"/subscribers/moderation/dead-letters/redeliver", `{"from":0}`, "Content-Type", "application/json")
	if err != nil || !strings.Contains(string(answer.Body), `"matched":1`) || !strings.Contains(string(answer.Body), `"delivered":0`) {
		t.Errorf("delivering it again is answered with %s, %v", answer.Body, err)
	}
}

// Moderation that the bus reached, and that did not reach the bus, made a dead
// letter of every comment, which stayed pending for ever.
func TestModerationThatCannotReachTheBus(t *testing.T) {
	t.Parallel()
	start := func(t *testing.T, replies ...string) *harness.Blog {
		t.Helper()
		blog := harness.NewBlog(t, harness.Config{})
		harness.SetSubscribers(blog.Bus, []harness.Subscriber{
			{Name: "moderation", URL: blog.Moderation.URL + "/events", Types: []string{"CommentCreated"}, Replies: replies},
			{Name: "comments", URL: blog.Comments.URL + "/events", Types: []string{"CommentModerated"}, Replies: []string{"CommentUpdated"}},
		})
		blog.Moderation.Copies[0].Setenv("EVENT_BUS_URL", "http://"+harness.FreeAddress(t))
		for _, p := range blog.Processes() {
			p.Start()
		}
		blog.AwaitReady()
		return blog
	}
	t.Run("answers the push with its decision", func(t *testing.T) {
		t.Parallel()
		blog := start(t, "CommentModerated")
		post := blog.MustPost(t, "Replies")
		good, bad := blog.MustComment(t, post.ID, "Well said."), blog.MustComment(t, post.ID, "An orange.")
		awaitDecision(t, blog, post.ID, good, "approved")
		awaitDecision(t, blog, post.ID, bad, "rejected")
	})
	t.Run("and may not answer, is failing, and its comments wait", func(t *testing.T) {
		t.Parallel()
		blog := start(t)
		post := blog.MustPost(t, "No replies")
		var comments []harness.Comment
		for i := range 3 {
			comments = append(comments, blog.MustComment(t, post.ID, fmt.Sprint("Comment ", i)))
		}
		harness.Eventually(t, time.Minute, func() error {
			s, err := statusOf(t, blog, "moderation")
			if err == nil && (s.State != "failing" || s.DeadLetterCount > 0) {
				err = fmt.Errorf("moderation is %+v", s)
			}
			return err
		})
		moderation := blog.Moderation.Copies[0]
		moderation.Stop()
		moderation.Setenv("EVENT_BUS_URL", blog.Bus.URL)
		moderation.Start()
		for _, c := range comments {
			awaitDecision(t, blog, post.ID, c, "approved")
		}
		if s, err := statusOf(t, blog, "moderation"); err != nil || s.DeadLetterCount > 0 {
			t.Errorf("afterwards moderation is %+v, %v", s, err)
		}
	})
}
