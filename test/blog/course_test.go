package blog

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"miniblog/test/harness"
)

// The blog speaks the events of the course it follows, {"type","data"}, so its
// services and the course's can stand in for each other.

func TestASubscriberLikeTheCoursesGetsWhatItAskedForAndSlowsNobody(t *testing.T) {
	t.Parallel()
	express := newExpress(t)
	other := newSubscriber(t)
	express.live()
	other.live()
	bus := harness.StartBus(t,
		harness.Subscriber{Name: "express", URL: express.url(), Timeout: "200ms"},
		harness.Subscriber{Name: "other", URL: other.url()})
	api := harness.API{BusURL: bus.URL}

	// More than the bus has under way at once to one subscriber.
	const unheard = 20
	for i := range unheard {
		publish(t, bus.URL, "Unheard", fmt.Sprintf("unheard-%d", i), i)
	}
	harness.Eventually(t, limit, func() error {
		if n := express.hung(); n < unheard {
			return fmt.Errorf("%d of the events that it never answers were sent", n)
		}
		return nil
	})
	for i := range 200 {
		publish(t, bus.URL, "PostCreated", fmt.Sprintf("post-%d", i%40), i)
	}
	all := harness.Must(api.ListEvents(t.Context()))(t)
	other.has(all)
	express.has(all)
	harness.Eventually(t, limit, func() error { return express.tookAll(200) })

	express.die()
	for i := range 50 {
		publish(t, bus.URL, "PostCreated", fmt.Sprintf("post-%d", i%40), 200+i)
	}
	all = harness.Must(api.ListEvents(t.Context()))(t)
	other.has(all)
	harness.Eventually(t, limit, func() error {
		list, err := api.ListSubscribers(t.Context())
		if err == nil && list[0].State != "down" {
			err = fmt.Errorf("the bus says that a dead subscriber is %q", list[0].State)
		}
		return err
	})
	express.live()
	harness.Eventually(t, limit, func() error { return express.tookAll(250) })
	express.inOrder()
	other.inOrder()
}

// express is a subscriber like the course's services: of the types it does not
// know it says nothing, and its handlers fail now and then.
type express struct {
	*subscriber
	mu    sync.Mutex
	fails map[string]int  // how often it has failed, by event
	took  map[string]bool // the events it answered with 200
	never int             // requests that it left without an answer
}

func newExpress(t *testing.T) *express {
	e := &express{subscriber: newSubscriber(t), fails: map[string]int{}, took: map[string]bool{}}
	e.answer = func(w http.ResponseWriter, r *http.Request, event harness.Event) {
		if event.Type != "PostCreated" {
			e.mu.Lock()
			e.never++
			e.mu.Unlock()
			<-r.Context().Done()
			return
		}
		e.mu.Lock()
		defer e.mu.Unlock()
		if event.Sequence[len(event.Sequence)-1] == '7' && e.fails[event.ID] < 2 {
			e.fails[event.ID]++
			http.Error(w, "TypeError: Cannot read properties of undefined", http.StatusInternalServerError)
			return
		}
		e.took[event.ID] = true
		fmt.Fprint(w, "{}")
	}
	return e
}

func (e *express) hung() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.never
}

func (e *express) tookAll(n int) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.took) != n {
		return fmt.Errorf("the subscriber took %d events of %d", len(e.took), n)
	}
	return nil
}

// publish publishes one event about a subject.
func publish(t *testing.T, bus, typ, subject string, n int) {
	t.Helper()
	event := map[string]any{"type": typ, "subject": subject, "data": map[string]int{"n": n}}
	var receipt any
	if err := harness.PostJSON(t.Context(), bus+"/events", event, &receipt, ""); err != nil {
		t.Fatal(err)
	}
}

func TestAPublisherLikeTheCoursesNeedsTypeAndDataOnly(t *testing.T) {
	t.Parallel()
	blog := harness.StartBlog(t, harness.Config{})
	asInTheCourse(t, blog.API)
	for _, e := range harness.Must(blog.ListEvents(t.Context()))(t) {
		if e.ID == "" || e.Source == "" || e.Time == "" {
			t.Errorf("the bus left out what an event needs: %+v", e)
		}
	}
	storedOnce(t, harness.Must(blog.ListEvents(t.Context()))(t))
}

// asInTheCourse publishes a post and comments as the course's services do, and
// waits until our services made of them what the course's do.
func asInTheCourse(t *testing.T, api harness.API) {
	t.Helper()
	const post = "1f2e3d4c"
	for _, e := range []struct {
		typ  string
		data map[string]string
	}{
		{"PostCreated", map[string]string{"id": post, "title": "From elsewhere"}},
		{"CommentCreated", map[string]string{"id": "c0ffee01", "content": "A fine apple", "postId": post, "status": "pending"}},
		{"CommentCreated", map[string]string{"id": "c0ffee02", "content": "An orange", "postId": post, "status": "pending"}},
	} {
		receipt, err := api.Publish(t.Context(), e.typ, e.data)
		if err != nil {
			t.Fatal(err)
		}
		if receipt["status"] != "OK" {
			t.Errorf("the bus answered %v, not a status of OK", receipt)
		}
	}
	harness.Eventually(t, limit, func() error { _, err := find(t.Context(), api, post); return err })
	status := map[string]harness.Comment{}
	for _, c := range decided(t, api, post, 2) {
		status[c.ID] = c
	}
	if c := status["c0ffee01"]; c.Status != "approved" || c.Content != "A fine apple" {
		t.Errorf("the comment about an apple is %+v", c)
	}
	if c := status["c0ffee02"]; c.Status != "rejected" || c.Content != "" {
		t.Errorf("the comment about an orange is %+v", c)
	}
	ours, err := api.CreateComment(t.Context(), post, "Said here", "")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range decided(t, api, post, 3) {
		if c.ID == ours.ID && c.Status != "approved" {
			t.Errorf("our comment on the course's post is %+v", c)
		}
	}
}

func TestOurServicesWorkOnABusLikeTheCourses(t *testing.T) {
	t.Parallel()
	bus := startCourseBus(t)
	blog := harness.NewBlog(t, harness.Config{BusURL: bus.url})
	bus.subscribers = []string{blog.Posts.URL, blog.Comments.URL, blog.Query.URL, blog.Moderation.URL}
	for _, p := range blog.Processes() {
		p.Start()
	}
	blog.AwaitReady()
	asInTheCourse(t, blog.API)

	post := blog.MustPost(t, "On another bus")
	for i := range 10 {
		content, _ := numbered(i)
		blog.MustComment(t, post.ID, content)
	}
	check := func(t *testing.T) {
		t.Helper()
		rejected := 0
		for _, c := range decided(t, blog.API, post.ID, 10) {
			if c.Status == "rejected" {
				rejected++
			}
		}
		if rejected != 1 {
			t.Errorf("%d comments were rejected, not 1", rejected)
		}
	}
	check(t)
	t.Run("an Idempotency-Key means one post", func(t *testing.T) {
		first, err := blog.CreatePost(t.Context(), "Once", "a key")
		if err != nil {
			t.Fatal(err)
		}
		again, err := blog.CreatePost(t.Context(), "Once", "a key")
		if err != nil || again.ID != first.ID {
			t.Errorf("the second time it was %+v (%v), the first time %+v", again, err, first)
		}
	})
	for _, s := range []struct {
		name    string
		process *harness.Process
	}{{"posts", blog.Posts.Copies[0]}, {"comments", blog.Comments.Copies[0]}, {"query", blog.Query.Copies[0]}} {
		t.Run(s.name+" that was away and lost its database has everything again", func(t *testing.T) {
			s.process.Stop()
			if err := os.Remove(filepath.Join(s.process.Dir, "projection.db")); err != nil {
				t.Fatal(err)
			}
			data := map[string]string{"id": "away-" + s.name, "title": "While it was away"}
			if _, err := blog.Publish(t.Context(), "PostCreated", data); err != nil {
				t.Fatal(err)
			}
			s.process.Start()
			s.process.AwaitReady()
			check(t)
			comment := blog.MustComment(t, data["id"], "Welcome back")
			if c := decided(t, blog.API, data["id"], 1)[0]; c.ID != comment.ID || c.Status != "approved" {
				t.Errorf("the comment is %+v", c)
			}
			for _, p := range harness.Must(blog.ListPosts(t.Context()))(t) {
				if p.ID == data["id"] {
					return
				}
			}
			t.Errorf("posts does not have %v", data)
		})
	}
}
