package blog

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"miniblog/test/harness"
)

// answerLimit is what every service promises while the bus is away.
const answerLimit = 5 * time.Second

// It is not parallel: other tests would make it slow, and it looks at time.
func TestWhileTheBusIsAway(t *testing.T) {
	blog := harness.StartBlog(t, harness.Config{})
	post := blog.MustPost(t, "Before")
	blog.MustComment(t, post.ID, "Before, too")
	decided(t, blog.API, post.ID, 1)
	freeze(t, blog.Bus)
	t.Run("however many ask while it hangs", func(t *testing.T) { askAtOnce(t, blog.Posts.Copies[0], 1500) })
	blog.Bus.Kill()

	create := func() (harness.Post, error) { return blog.CreatePost(t.Context(), "Meanwhile", "post-key") }
	comment := func() (harness.Comment, error) {
		return blog.CreateComment(t.Context(), post.ID, "Meanwhile, too", "comment-key")
	}
	event := map[string]any{"type": "CommentCreated", "data": map[string]string{"id": "c", "postId": "p", "content": "x", "status": "pending"}}
	t.Run("503 and when to come back is the answer", func(t *testing.T) {
		for what, attempt := range map[string]func() error{
			"to a post":    func() error { _, err := create(); return err },
			"to a comment": func() error { _, err := comment(); return err },
			"of moderation, so that the comment comes again": func() error {
				return harness.PostJSON(t.Context(), blog.Moderation.URL+"/events", event, nil, "")
			},
		} {
			t.Run(what, func(t *testing.T) {
				t.Parallel()
				start := time.Now()
				err := attempt()
				if took := time.Since(start); took > answerLimit {
					t.Errorf("the answer took %v, more than %v", took, answerLimit)
				}
				var refusal *harness.Refusal
				if !errors.As(err, &refusal) {
					t.Fatalf("the answer is %v, not a problem", err)
				}
				checkProblem(t, refusal.Answer, http.StatusServiceUnavailable, "")
				if seconds, err := strconv.Atoi(refusal.Header.Get("Retry-After")); err != nil || seconds < 1 {
					t.Errorf("Retry-After is %q, not a number of seconds", refusal.Header.Get("Retry-After"))
				}
			})
		}
	})
	t.Run("reading goes on and nobody is restarted for it", func(t *testing.T) {
		if known, err := find(t.Context(), blog.API, post.ID); err != nil || len(known.Comments) != 1 || known.Comments[0].Content != "Before, too" {
			t.Errorf("query says %+v (%v)", known, err)
		}
		if posts := harness.Must(blog.ListPosts(t.Context()))(t); len(posts) != 1 || posts[0].ID != post.ID {
			t.Errorf("posts says %+v", posts)
		}
		for _, s := range []harness.Service{blog.Posts, blog.Comments, blog.Query, blog.Moderation} {
			for _, probe := range []string{"/healthz", "/readyz"} {
				get(t, s.URL+probe)
			}
		}
	})

	blog.Bus.Start()
	blog.Bus.AwaitReady()
	t.Run("the same request with the same key makes one post and one comment", func(t *testing.T) {
		for range 3 {
			if _, err := create(); err != nil {
				t.Error(err)
			}
			if _, err := comment(); err != nil {
				t.Error(err)
			}
		}
		decided(t, blog.API, post.ID, 2)
		if posts := harness.Must(blog.ListPosts(t.Context()))(t); len(posts) != 2 {
			t.Errorf("posts says %+v", posts)
		}
		checkLog(t, blog, 2, 2)
	})
}

// freeze stops a process where it stands: the kernel takes its connections, and nobody
// answers.
func freeze(t *testing.T, p *harness.Process) {
	t.Helper()
	if err := syscall.Kill(p.Pid(), syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
}

// askAtOnce sends n posts, each of which must hear in time that the bus is away: the last
// of many waited for the attempts of all before it. What counts is what posts says that
// its answers took; the test needs some time itself to send so many.
func askAtOnce(t *testing.T, posts *harness.Process, n int) {
	t.Helper()
	asking := harness.Stall(t, posts, n, func(int) string { return harness.RawPost("/posts/create", `{"title":"One of many"}`, 0) })
	awaitAll(t, n, asking.Answered)
	const took = `http_request_duration_seconds_bucket{route="POST /posts/create",status="503",le="%s"} %d` + "\n"
	text := get(t, posts.URL+"/metrics")
	for _, limit := range []string{"5", "+Inf"} { // answerLimit, and all of them
		if want := fmt.Sprintf(took, limit, n); !strings.Contains(text, want) {
			t.Errorf("not all of %d were answered within %s s:\n%s", n, limit,
				regexp.MustCompile(`.*_bucket.*/posts/create.*503.*`).FindAllString(text, -1))
		}
	}
}
