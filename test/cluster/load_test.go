package cluster

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"
)

// load is what people do: some write posts and comment on them, some read.
type load struct {
	posts, comments, query string // URLs
	stop                   context.CancelFunc
	done                   sync.WaitGroup

	mu           sync.Mutex
	requests     int
	acknowledged map[string][]string // post id: its comments' ids
	unavailable  int                 // answers 503
	lastCommand  time.Time           // when one was answered last
	longestGap   time.Duration       // between two commands that were answered
	wrong        []string            // anything worse, and what it was
}

// startLoad starts three writers and three readers.
func startLoad(t *testing.T, k *kube) *load {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	l := &load{
		posts: k.serviceURL(t, "posts"), comments: k.serviceURL(t, "comments"), query: k.serviceURL(t, "query"),
		stop: stop, acknowledged: map[string][]string{}, lastCommand: time.Now(),
	}
	for i := range 3 {
		l.done.Go(func() { l.write(ctx, i) })
		l.done.Go(func() { l.read(ctx) })
	}
	t.Cleanup(l.end)
	return l
}

// end stops the load and waits until its last answer has come.
func (l *load) end() {
	l.stop()
	l.done.Wait()
}

func (l *load) write(ctx context.Context, writer int) {
	for i := 0; ctx.Err() == nil; i++ {
		var post struct{ ID string }
		key := map[string]string{"Idempotency-Key": fmt.Sprintf("%d-%d-%d", writer, i, time.Now().UnixNano())}
		if !l.request(ctx, "POST", l.posts+"/posts/create", `{"title":"Under load"}`, key, &post) {
			continue
		}
		l.remember(post.ID)
		for range 2 {
			var comments []struct{ ID string }
			if l.request(ctx, "POST", l.comments+"/posts/"+post.ID+"/comments", `{"content":"A word"}`, nil, &comments) && len(comments) > 0 {
				l.remember(post.ID, comments[len(comments)-1].ID)
			}
		}
		pause(ctx, 20*time.Millisecond)
	}
}

func (l *load) read(ctx context.Context) {
	for ctx.Err() == nil {
		var posts map[string]any
		l.request(ctx, "GET", l.query+"/posts?limit=20", "", nil, &posts)
		pause(ctx, 20*time.Millisecond)
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// request says whether the answer is a good one; others are counted.
func (l *load) request(ctx context.Context, method, url, body string, header map[string]string, into any) bool {
	// A request that has begun is waited for when the load ends.
	status, err := call(context.WithoutCancel(ctx), method, url, body, header, into)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.requests++
	switch {
	case err != nil:
		l.wrong = append(l.wrong, fmt.Sprintf("%s %s: %v", method, url, err))
	case status == 503:
		l.unavailable++
	case status >= 400:
		l.wrong = append(l.wrong, fmt.Sprintf("%s %s: %d", method, url, status))
	default:
		if method == "POST" {
			now := time.Now()
			l.longestGap = max(l.longestGap, now.Sub(l.lastCommand))
			l.lastCommand = now
		}
		return true
	}
	return false
}

func (l *load) remember(post string, comments ...string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.acknowledged[post] = append(l.acknowledged[post], comments...)
}

// takeFailures returns the failures since it was last called.
func (l *load) takeFailures() (unavailable int, wrong []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	unavailable, wrong = l.unavailable, l.wrong
	l.unavailable, l.wrong = 0, nil
	return unavailable, wrong
}

// takeGap returns the longest time without an answered command since it was
// last called.
func (l *load) takeGap() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	gap := l.longestGap
	l.longestGap = 0
	return gap
}

// served waits until n more requests have been answered.
func (l *load) served(t *testing.T, n int) {
	t.Helper()
	count := func() int {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.requests
	}
	start := count()
	eventually(t, "requests under load", func() error {
		if got := count() - start; got < n {
			return fmt.Errorf("%d of %d answered", got, n)
		}
		return nil
	})
}
