package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"miniblog/internal/event"
)

// writer writes comments, to a new post when the last one has as many as most.
type writer struct {
	posts, comments string // base URLs of the services
	post            string // that is commented on, the id
	written         int
}

func (b *bench) newWriter() writer {
	return writer{posts: "http://" + b.addrs["posts"+running], comments: "http://" + b.addrs["comments"+running]}
}

// prepare creates a post, if the next comment is for a new one.
func (w *writer) prepare() error {
	if w.written%commentsPerPost != 0 {
		return nil
	}
	created, err := postJSON(w.posts+"/posts/create", `{"title":"round trips"}`)
	if err != nil {
		return err
	}
	var p event.Post
	err = json.Unmarshal(created, &p)
	w.post = p.ID
	return err
}

// write writes a comment and returns the answer.
func (w *writer) write() ([]byte, error) {
	w.written++
	return postJSON(w.comments+"/posts/"+w.post+"/comments", fmt.Sprintf(`{"content":"number %d"}`, w.written))
}

// writeEvery writes a comment at that pace until ctx ends; it returns the first
// error.
func (w *writer) writeEvery(ctx context.Context, pace time.Duration) error {
	tick := time.NewTicker(pace)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			err := w.prepare()
			if err == nil {
				_, err = w.write()
			}
			if err != nil && ctx.Err() == nil {
				return err
			}
		}
	}
}

// trips are comments that are written one after the other, each when the one before
// it is approved.
type trips struct {
	writer
	live <-chan approval
}

// newTrips follows query's live stream until ctx ends.
func (b *bench) newTrips(ctx context.Context) (*trips, error) {
	live, err := followApprovals(ctx, "http://"+b.addrs["query"+running])
	return &trips{b.newWriter(), live}, err
}

// make writes n comments and returns how long each took from its POST to being
// approved in query, sorted.
func (t *trips) make(ctx context.Context, n int) (took []time.Duration, err error) {
	for range n {
		if err := t.prepare(); err != nil {
			return nil, err
		}
		begin := time.Now()
		body, err := t.write()
		if err != nil {
			return nil, err
		}
		var comments []event.Comment
		if err := json.Unmarshal(body, &comments); err != nil {
			return nil, err
		}
		at, err := t.approved(ctx, comments[len(comments)-1].ID)
		if err != nil {
			return nil, err
		}
		took = append(took, at.Sub(begin))
	}
	slices.Sort(took)
	return took, nil
}

// approved waits until query shows the comment as approved, 10 s at most.
func (t *trips) approved(ctx context.Context, id string) (time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for {
		select {
		case a, open := <-t.live:
			if !open {
				return time.Time{}, errors.New("the live stream ended")
			}
			if a.id == id {
				return a.at, nil
			}
		case <-ctx.Done():
			return time.Time{}, fmt.Errorf("comment %s was not approved: %w", id, ctx.Err())
		}
	}
}

func postJSON(url, body string) ([]byte, error) {
	r, err := http.Post(url, "application/json", strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	defer r.Body.Close()
	answer, err := io.ReadAll(r.Body)
	if err == nil && r.StatusCode != http.StatusCreated {
		err = fmt.Errorf("POST %s: %s: %s", url, r.Status, answer)
	}
	return answer, err
}

// approval is a comment that query shows as approved, and when that was seen.
type approval struct {
	id string
	at time.Time
}

// followApprovals follows query's live stream until ctx ends.
func followApprovals(ctx context.Context, query string) (<-chan approval, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, query+"/posts/live", nil)
	if err != nil {
		return nil, err
	}
	r, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	approvals := make(chan approval, 100)
	go func() {
		defer close(approvals)
		defer r.Body.Close()
		lines := bufio.NewScanner(r.Body)
		for lines.Scan() {
			data, ok := strings.CutPrefix(lines.Text(), "data: ")
			at := time.Now()
			var c event.Comment
			if ok && json.Unmarshal([]byte(data), &c) == nil && c.Status == event.Approved {
				approvals <- approval{c.ID, at}
			}
		}
	}()
	return approvals, nil
}
