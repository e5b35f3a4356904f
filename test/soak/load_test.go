package soak

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"miniblog/test/harness"
)

// load is what visitors do, whatever comes of it, and counts what came of it.
type load struct {
	posts, comments, reads, streams atomic.Int64
	newest                          atomic.Value // the id of a post, a string
}

// long makes answers too large for a client who is stuck.
var long = strings.Repeat("ä", 10_000)

// start lets visitors come until ctx ends. What it returns waits for them to have gone.
func (l *load) start(ctx context.Context, api harness.API) *sync.WaitGroup {
	var visitors sync.WaitGroup
	each := func(every time.Duration, do func(n int)) {
		visitors.Go(func() {
			tick := time.NewTicker(every)
			defer tick.Stop()
			for n := 0; ctx.Err() == nil; n++ {
				do(n)
				<-tick.C
			}
		})
	}
	count := func(counter *atomic.Int64, err error) {
		if err == nil {
			counter.Add(1)
		}
	}
	each(200*time.Millisecond, func(n int) {
		post, err := api.CreatePost(ctx, fmt.Sprintf("Post %d", n), "")
		if err == nil {
			l.newest.Store(post.ID)
		}
		count(&l.posts, err)
	})
	for _, content := range []string{"A comment", "An orange", long} {
		each(100*time.Millisecond, func(int) {
			if post, ok := l.newest.Load().(string); ok {
				_, err := api.CreateComment(ctx, post, content, "")
				count(&l.comments, err)
			}
		})
	}
	newest, _ := l.newest.Load().(string)
	for _, url := range []string{api.QueryURL + "/posts", api.PostsURL + "/posts", api.CommentsURL + "/posts/" + newest + "/comments", api.BusURL + "/events?limit=100"} {
		each(200*time.Millisecond, func(int) {
			_, err := harness.Send(ctx, http.MethodGet, url, "")
			count(&l.reads, err)
		})
	}
	for _, url := range []string{api.QueryURL + "/posts/live", api.QueryURL + "/posts/live?after=0", api.BusURL + "/events?after=0"} {
		each(100*time.Millisecond, func(int) { count(&l.streams, follow(ctx, url)) })
	}
	return &visitors
}

// streaming has no limit of time, and leaves no connection behind.
var streaming = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

// follow reads a stream until it, or ctx, ends.
func follow(ctx context.Context, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	request.Header.Set("Accept", "text/event-stream")
	response, err := streaming.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	io.Copy(io.Discard, response.Body) // ends when it is cut off
	return nil
}
