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

// trips is a post on which comments are written one after the other, each when
// the one before it is approved.
type trips struct {
	comments string // where its comments are posted
	live     <-chan approval
}

// newTrips creates the post and follows query's live stream until ctx ends.
func (b *bench) newTrips(ctx context.Context) (*trips, error) {
	created, err := postJSON("http://"+b.addrs["posts"+running]+"/posts/create", `{"title":"round trips"}`)
	if err != nil {
		return nil, err
	}
	var p event.Post
	if err := json.Unmarshal(created, &p); err != nil {
		return nil, err
	}
	query := "http://" + b.addrs["query"+running]
	if err := waitForPost(ctx, query, p.ID); err != nil {
		return nil, err
	}
	live, err := followApprovals(ctx, query)
	return &trips{comments: "http://" + b.addrs["comments"+running] + "/posts/" + p.ID + "/comments", live: live}, err
}

// make writes n comments and returns how long each took from its POST to being
// approved in query, sorted.
func (t *trips) make(ctx context.Context, n int) (took []time.Duration, err error) {
	for i := range n {
		begin := time.Now()
		body, err := postJSON(t.comments, fmt.Sprintf(`{"content":"number %d"}`, i))
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

// commentEvery posts comments to url at that pace until ctx ends; it returns
// the first error.
func commentEvery(ctx context.Context, pace time.Duration, url string) error {
	tick := time.NewTicker(pace)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			if _, err := postJSON(url, fmt.Sprintf(`{"content":"beside %d"}`, n)); err != nil && ctx.Err() == nil {
				return err
			}
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

func waitForPost(ctx context.Context, query, id string) error {
	for {
		r, err := http.Get(query + "/posts?id=" + id)
		if err != nil {
			return err
		}
		answer, err := io.ReadAll(r.Body)
		r.Body.Close()
		if err != nil || strings.Contains(string(answer), id) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Millisecond):
		}
	}
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
