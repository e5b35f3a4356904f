package blog

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"miniblog/test/harness"
)

const stalledReaders, stalledUploads = 200, 250

// worst is a content of the most characters that a comment may have, of which
// each takes the most room in an answer: six bytes.
var worst = strings.Repeat("\x01", 10_000)

// Two hundred readers who do not read took 340 MiB of query's memory, 800 MiB
// of comments', and a megabyte each of the bus's: more than a pod may have.
func TestMemoryIsBoundedHoweverManyReadersStall(t *testing.T) {
	t.Parallel()
	blog := startLimited(t)
	fill(t, blog)
	bus, posts, comments, query := blog.Bus, blog.Posts.Copies[0], blog.Comments.Copies[0], blog.Query.Copies[0]
	for _, c := range []struct {
		name    string
		process *harness.Process
		request func(i int) string
		alive   string // a request that is answered meanwhile
	}{
		{"pages of query, each its own", query, func(i int) string { return harness.RawGet(fmt.Sprintf("/posts?limit=%d", 100+i)) }, "/posts?limit=1"},
		{"pages of posts", posts, func(int) string { return harness.RawGet("/posts?limit=1000") }, "/posts?limit=1"},
		{"comments of a post", comments, func(int) string { return harness.RawGet("/posts/p0/comments?limit=1000") }, "/posts/p0/comments?limit=1"},
		{"the log as an array of some types", bus, func(i int) string {
			return harness.RawGet(fmt.Sprintf("/events?type=CommentUpdated&after=%d", i))
		}, "/events?limit=1"},
		{"the log as lines in gzip", bus, func(i int) string {
			return harness.RawGet(fmt.Sprint("/events?after=", i), "Accept", "application/x-ndjson", "Accept-Encoding", "gzip")
		}, "/events?limit=1"},
		{"the log as lines in zstd", bus, func(i int) string {
			return harness.RawGet(fmt.Sprint("/events?after=", i), "Accept", "application/x-ndjson", "Accept-Encoding", "zstd")
		}, "/events?limit=1"},
		{"the log as a stream", bus, func(i int) string {
			return harness.RawGet(fmt.Sprint("/events?after=", i), "Accept", "text/event-stream")
		}, "/events?limit=1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			stalled := harness.Stall(t, c.process, stalledReaders, c.request)
			awaitAll(t, stalledReaders, stalled.Answered)
			checkMemory(t, c.process, c.alive)
		})
	}
	t.Run("followers of query", func(t *testing.T) {
		stalled := harness.Stall(t, query, stalledReaders, func(int) string { return harness.RawGet("/posts/live?after=0") })
		awaitAll(t, stalledReaders, stalled.Answered)
		fillComments(t, blog, 4)
		checkMemory(t, query, "/posts?limit=1")
	})
}

// Two hundred and fifty bodies of a megabyte that stay unfinished were two
// hundred and fifty megabytes. Those whose post was unknown stayed for a second
// even if they were whole.
func TestMemoryIsBoundedHoweverManyUploadsStall(t *testing.T) {
	t.Parallel()
	blog := startLimited(t)
	post := blog.MustPost(t, "A post")
	spaces := `{"content":"x"` + strings.Repeat(" ", 1<<20-30) + `}`
	event := `{"type":"CommentCreated","data":{"id":"c","postId":"p","content":"x"}` + strings.Repeat(" ", 1<<20-100) + `}`
	for _, c := range []struct {
		name    string
		process *harness.Process
		path    string
		body    string
		missing int
		alive   string
	}{
		{"titles", blog.Posts.Copies[0], "/posts/create", spaces, 1, "/posts"},
		{"comments", blog.Comments.Copies[0], "/posts/" + post.ID + "/comments", spaces, 1, "/posts/" + post.ID + "/comments"},
		{"comments on an unknown post", blog.Comments.Copies[0], "/posts/unknown/comments", spaces, 0, "/posts/" + post.ID + "/comments"},
		{"events to moderation", blog.Moderation.Copies[0], "/events", event, 1, "/healthz"},
		{"events to the bus", blog.Bus, "/events", event, 1, "/events"},
	} {
		t.Run(c.name, func(t *testing.T) {
			stalled := harness.Stall(t, c.process, stalledUploads, func(int) string { return harness.RawPost(c.path, c.body, c.missing) })
			awaitAll(t, stalledUploads, stalled.Sent)
			checkMemory(t, c.process, c.alive)
		})
	}
	blog.MustComment(t, post.ID, "The next one")
	decided(t, blog.API, post.ID, 1)
}

// A hundred and fifty titles of a megabyte, which any pod may publish, were kept:
// posts' list took 604 MiB.
func TestMemoryIsBoundedHoweverLongTheTitles(t *testing.T) {
	t.Parallel()
	const titles, atOnce = 150, 15
	blog := startLimited(t)
	title := strings.Repeat("x", 1_000_000)
	for n := range titles / atOnce {
		var batch []map[string]any
		for i := range atOnce {
			id := fmt.Sprintf("p%d", n*atOnce+i)
			batch = append(batch, map[string]any{"type": "PostCreated", "subject": id, "data": map[string]string{"id": id, "title": title}})
		}
		publishAll(t, blog.BusURL, batch)
	}
	for _, c := range []struct {
		process *harness.Process
		list    func(context.Context) ([]harness.Post, error)
	}{{blog.Posts.Copies[0], blog.ListPosts}, {blog.Query.Copies[0], blog.ListBlog}} {
		harness.Eventually(t, limit, func() error {
			posts, err := c.list(t.Context())
			if err == nil && len(posts) != titles {
				err = fmt.Errorf("%s has %d of %d posts", c.process.Name, len(posts), titles)
			}
			for _, post := range posts {
				if len(post.Title) != 200 || !strings.HasPrefix(title, post.Title) {
					t.Fatalf("%s shows a title of %d bytes: %.300q", c.process.Name, len(post.Title), post.Title)
				}
			}
			return err
		})
		stalled := harness.Stall(t, c.process, stalledReaders, func(int) string { return harness.RawGet("/posts?limit=1000") })
		awaitAll(t, stalledReaders, stalled.Answered)
		checkMemory(t, c.process, "/posts?limit=1")
	}
	checkMemory(t, blog.Comments.Copies[0], "/posts/p0/comments")
	checkMemory(t, blog.Bus, "/events?limit=1")
}

// startLimited starts a blog whose processes have the memory of infra/k8s.
func startLimited(t *testing.T) *harness.Blog {
	t.Helper()
	blog := harness.NewBlog(t, harness.Config{})
	for _, p := range blog.Processes() {
		p.Setenv("GOMEMLIMIT", harness.LimitsOf(t, p.Name).GOMEMLIMIT)
		p.Start()
	}
	blog.AwaitReady()
	return blog
}

// fill publishes posts with the longest titles, and as many and as long comments
// as fit into any answer.
func fill(t *testing.T, blog *harness.Blog) {
	t.Helper()
	for n := range 4 {
		var batch []map[string]any
		for i := range 250 {
			id := fmt.Sprintf("p%d", 250*n+i)
			batch = append(batch, map[string]any{"type": "PostCreated", "subject": id, "data": map[string]string{"id": id, "title": worst[:200]}})
		}
		publishAll(t, blog.BusURL, batch)
	}
	for n := range 4 {
		fillComments(t, blog, n)
	}
	for _, url := range []string{blog.QueryURL + "/posts?id=p0", blog.CommentsURL + "/posts/p0/comments?limit=1&after=c3-198"} {
		harness.Eventually(t, limit, func() error {
			answer, err := harness.Send(t.Context(), http.MethodGet, url, "")
			if err == nil && (answer.Status != http.StatusOK || len(answer.Body) < len(worst)) {
				err = fmt.Errorf("%s answers %d, %d bytes", url, answer.Status, len(answer.Body))
			}
			return err
		})
	}
}

// fillComments publishes the nth 200 comments: on the newest posts, which are the
// ones on the first page, fifty each, or on post p0.
func fillComments(t *testing.T, blog *harness.Blog, n int) {
	t.Helper()
	var batch []map[string]any
	for i := range 200 {
		post := "p0"
		if n < 3 {
			post = fmt.Sprintf("p%d", 999-(200*n+i)/50)
		}
		batch = append(batch, map[string]any{"type": "CommentUpdated", "subject": post, "data": map[string]string{
			"id": fmt.Sprintf("c%d-%d", n, i), "postId": post, "content": worst, "status": "approved"}})
	}
	publishAll(t, blog.BusURL, batch)
}

func publishAll(t *testing.T, bus string, batch []map[string]any) {
	t.Helper()
	body, err := json.Marshal(batch)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := harness.Send(t.Context(), http.MethodPost, bus+"/events", string(body), "Content-Type", "application/cloudevents-batch+json")
	if err != nil || answer.Status != http.StatusOK {
		t.Fatalf("publishing a batch of %d bytes: %v %+v", len(body), err, answer)
	}
}

// awaitAll waits until count says all.
func awaitAll(t *testing.T, all int, count func() int) {
	t.Helper()
	harness.Eventually(t, limit, func() error {
		if n := count(); n < all {
			return fmt.Errorf("%d of %d clients were served", n, all)
		}
		return nil
	})
}

// checkMemory fails the test if a process has taken more memory than infra/k8s
// gives it, or does not answer others.
func checkMemory(t *testing.T, p *harness.Process, alive string) {
	t.Helper()
	harness.Eventually(t, limit, func() error {
		answer, err := harness.Send(t.Context(), http.MethodGet, p.URL+alive, "")
		if err == nil && answer.Status != http.StatusOK {
			err = &harness.Refusal{Answer: answer}
		}
		return err
	})
	p.MustBeAlive()
	most, peak := harness.LimitsOf(t, p.Name).Memory, harness.PeakMemory(t, p)
	if peak >= most {
		t.Errorf("%s took %d MiB; its pod has %d", p.Name, peak>>20, most>>20)
	}
	t.Logf("%s took %d MiB of %d", p.Name, peak>>20, most>>20)
}
