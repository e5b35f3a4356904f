package blog

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"miniblog/test/harness"
)

// While what is sent to the bus and by it was lost, so that nobody heard that it
// was away, a post that this copy did not know was a 404 for up to 50 s. It may be
// in the log.
func TestWhatTheLogMayHoldIsNoUnknownPostWhilePacketsAreLost(t *testing.T) {
	t.Parallel()
	bus := harness.StartBus(t)
	cable := harness.NewCable(t, bus.URL)
	blog := harness.NewBlog(t, harness.Config{BusURL: cable.URL})
	for _, p := range []*harness.Process{blog.Posts.Copies[0], blog.Comments.Copies[0], blog.Query.Copies[0]} {
		p.Start()
	}
	blog.AwaitReady()
	known := blog.MustPost(t, "Known")
	blog.MustComment(t, known.ID, "A comment")

	cable.Lose()
	direct := harness.API{BusURL: bus.URL}
	if _, err := direct.Publish(t.Context(), "PostCreated", map[string]string{"id": "unheard", "title": "Unheard"}); err != nil {
		t.Fatal(err)
	}
	ask := map[string]func() error{
		"a comment on a post":  func() error { _, err := blog.CreateComment(t.Context(), "unheard", "x", ""); return err },
		"a comment on another": func() error { _, err := blog.CreateComment(t.Context(), known.ID, "x", ""); return err },
		"a post":               func() error { _, err := blog.CreatePost(t.Context(), "x", ""); return err },
	}
	for _, url := range []string{blog.PostsURL + "/posts?before=unheard", blog.QueryURL + "/posts?before=unheard", blog.CommentsURL + "/posts/" + known.ID + "/comments?after=unheard"} {
		ask["GET "+url] = func() error {
			answer, err := harness.Send(t.Context(), http.MethodGet, url, "")
			if err == nil {
				err = &harness.Refusal{Answer: answer}
			}
			return err
		}
	}
	askAll := func(t *testing.T) {
		var asking sync.WaitGroup
		defer asking.Wait()
		for what, ask := range ask {
			asking.Go(func() {
				began := time.Now()
				err := ask()
				took := time.Since(began)
				var refusal *harness.Refusal
				if !errors.As(err, &refusal) {
					t.Errorf("%s: %v", what, err)
					return
				}
				if took > 2*answerLimit { // twice, for other tests run beside this one
					t.Errorf("%s was answered after %v; promised are %v", what, took, answerLimit)
				}
				checkProblem(t, refusal.Answer, http.StatusServiceUnavailable, "")
				if refusal.Header.Get("Retry-After") == "" {
					t.Errorf("%s: it is not said when to come back", what)
				}
			})
		}
	}
	t.Run("before the silence is noticed it is a 503", askAll)
	harness.Eventually(t, limit, func() error {
		answer, err := harness.Send(t.Context(), http.MethodGet, blog.CommentsURL+"/metrics", "")
		if err == nil && !strings.Contains(string(answer.Body), "\nprojection_following 0\n") {
			err = fmt.Errorf("comments takes the bus for being there")
		}
		return err
	})
	t.Run("and after it, too", askAll)
	t.Run("reading goes on", func(t *testing.T) {
		if posts := harness.Must(blog.ListBlog(t.Context()))(t); len(posts) != 1 || posts[0].CommentCount != 1 {
			t.Errorf("query says %+v", posts)
		}
	})

	cable.Restore()
	harness.Eventually(t, limit, func() error {
		_, err := blog.CreateComment(t.Context(), "unheard", "Heard", "key")
		return err
	})
	t.Run("afterwards an unknown post is a 404 again", func(t *testing.T) {
		_, err := blog.CreateComment(t.Context(), "unknown", "x", "")
		var refusal *harness.Refusal
		if !errors.As(err, &refusal) {
			t.Fatal(err)
		}
		checkProblem(t, refusal.Answer, http.StatusNotFound, "")
	})
}
