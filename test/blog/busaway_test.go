package blog

import (
	"errors"
	"net/http"
	"slices"
	"strconv"
	"sync"
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
	t.Run("however many ask while it hangs", func(t *testing.T) { askAtOnce(t, blog.PostsURL+"/posts/create", 1500) })
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

// askAtOnce sends n commands, each of which must hear in time that the bus is away. The
// last of many waited for the attempts of all before it.
func askAtOnce(t *testing.T, url string, n int) {
	t.Helper()
	var asking sync.WaitGroup
	took := make([]time.Duration, n)
	for i := range n {
		asking.Go(func() {
			began := time.Now()
			answer, err := harness.Send(t.Context(), http.MethodPost, url, `{"title":"One of many"}`, "Content-Type", "application/json")
			took[i] = time.Since(began)
			if err != nil || answer.Status != http.StatusServiceUnavailable {
				t.Errorf("the answer is %+v, %v", answer, err)
			}
		})
	}
	asking.Wait()
	if longest := slices.Max(took); longest > answerLimit+2*time.Second { // which so many take to be sent, on a slow machine
		t.Errorf("the last answer took %v; promised are %v", longest, answerLimit)
	}
}
