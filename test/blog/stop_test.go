package blog

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"miniblog/test/harness"
)

func TestAStopCutsNoRequestOff(t *testing.T) {
	t.Parallel()
	blog := harness.StartBlog(t, harness.Config{})
	post := blog.MustPost(t, "A post")
	var created []string // the bodies of posts that were answered with 201
	for _, s := range []struct {
		process      *harness.Process
		method, path string
		body         string // with %d for what makes it another one
		streams      []string
		waits        string // a request that waits for something
	}{
		{process: blog.Client, method: "GET", path: "/"},
		{process: blog.Posts.Copies[0], method: "POST", path: "/posts/create", body: `{"title":"Title %d"}`},
		{process: blog.Comments.Copies[0], method: "POST", path: "/posts/" + post.ID + "/comments", body: `{"content":"Comment %d"}`},
		{process: blog.Query.Copies[0], method: "GET", path: "/posts", streams: []string{"/posts/live"}},
		{process: blog.Moderation.Copies[0], method: "POST", path: "/events", body: `{"type":"CommentCreated","id":"stop-%[1]d","data":{"id":"c%[1]d","postId":"` + post.ID + `","content":"x","status":"pending"}}`},
		{process: blog.Bus, method: "POST", path: "/events", body: `{"type":"Something","data":%d}`, streams: []string{"/events?after=1"}, waits: "/events?after=18446744073709551615&wait=30s"},
	} {
		t.Run(s.process.Name, func(t *testing.T) {
			var streams []*harness.Stream
			for _, path := range s.streams {
				streams = append(streams, harness.Follow(t, s.process.URL+path))
			}
			waited := make(chan error, 1)
			if s.waits != "" {
				go func() { waited <- whole(t.Context(), s.process.URL+s.waits) }()
			}
			load := startLoad(t, s.method, s.process.URL+s.path, s.body)
			harness.Eventually(t, limit, func() error { return load.answered(300) })
			s.process.Terminate()
			s.process.AwaitStop()
			load.workers.Wait()
			for _, err := range load.errs {
				t.Errorf("a request was cut off: %v", err)
			}
			for i, stream := range streams {
				<-stream.Ended()
				if err := stream.Err(); err != nil {
					t.Errorf("the stream %s was cut off: %v", s.streams[i], err)
				}
			}
			if s.waits != "" {
				if err := <-waited; err != nil {
					t.Errorf("%s, which was waiting: %v", s.waits, err)
				}
			}
			s.process.Start()
			s.process.AwaitReady()
			if s.process == blog.Posts.Copies[0] {
				created = load.bodies
			}
		})
	}
	there := map[string]bool{}
	for _, p := range harness.Must(blog.ListPosts(t.Context()))(t) {
		there[fmt.Sprintf(`{"title":%q}`, p.Title)] = true
	}
	for _, body := range created {
		if !there[body] {
			t.Errorf("the post %s was answered with 201 and is not there", body)
		}
	}
}

// Three readers who did not read and a subscriber who did not answer held the
// bus up for 11 s, and it called that an error.
func TestAStopWaitsForNobodyWhoIsStuck(t *testing.T) {
	t.Parallel()
	listener := harness.Must(net.Listen("tcp", "127.0.0.1:0"))(t)
	defer listener.Close()
	bus := harness.StartBus(t, harness.Subscriber{Name: "silent", URL: "http://" + listener.Addr().String() + "/events", Timeout: "60s"})
	large := map[string]string{"type": "Large", "data": strings.Repeat("x", 1_000_000)}
	for range 16 { // more than a connection's buffers hold
		if err := harness.PostJSON(t.Context(), bus.URL+"/events", large, new(struct{}), ""); err != nil {
			t.Fatal(err)
		}
	}
	push := harness.Must(listener.Accept())(t) // which has no answer
	defer push.Close()
	stalled := harness.Stall(t, bus, 3, func(int) string { return harness.RawGet("/events") })
	awaitAll(t, 3, stalled.Answered)
	bus.Terminate()
	bus.AwaitStop()
}

// load is requests without a pause from several clients until the server is
// gone. Each opens a new connection now and then, so that some always wait to
// be accepted, and leaves when the server says that this answer is its last.
type load struct {
	workers sync.WaitGroup

	mu     sync.Mutex
	bodies []string // of what was answered with a success
	errs   []error
}

func startLoad(t *testing.T, method, url, body string) *load {
	l := &load{}
	var number atomic.Int64
	for range 8 {
		transport := &http.Transport{}
		client := &http.Client{Transport: transport, Timeout: limit}
		l.workers.Go(func() {
			defer transport.CloseIdleConnections()
			for i := 0; t.Context().Err() == nil; i++ {
				if i%4 == 0 {
					transport.CloseIdleConnections()
				}
				text := body
				if body != "" {
					text = fmt.Sprintf(body, number.Add(1))
				}
				last, err := ask(t.Context(), client, method, url, text)
				if errors.Is(err, syscall.ECONNREFUSED) {
					return // it was never accepted
				}
				l.note(text, err)
				if err != nil || last {
					return
				}
			}
		})
	}
	return l
}

// ask returns nil when the whole of a success has come, and whether the server
// closes the connection after it.
func ask(ctx context.Context, client *http.Client, method, url, body string) (last bool, err error) {
	request, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return false, err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := client.Do(request)
	if err != nil {
		return false, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode/100 != 2 {
		err = fmt.Errorf("answered %d %s", response.StatusCode, text)
	}
	return response.Close, err
}

func whole(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	answer, err := harness.Send(ctx, http.MethodGet, url, "")
	if err == nil && answer.Status != http.StatusOK {
		err = &harness.Refusal{Answer: answer}
	}
	return err
}

func (l *load) note(body string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		l.errs = append(l.errs, err)
	} else {
		l.bodies = append(l.bodies, body)
	}
}

func (l *load) answered(n int) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.bodies) < n && len(l.errs) == 0 {
		return fmt.Errorf("%d requests were answered, not %d", len(l.bodies), n)
	}
	return nil
}
