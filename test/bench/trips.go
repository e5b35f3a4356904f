package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"miniblog/internal/event"
)

// roundTrips measures how long a comment takes from its POST to being approved
// in query, with the whole blog running.
func (b *bench) roundTrips(ctx context.Context, o options) error {
	if err := b.startBlog(ctx); err != nil {
		return err
	}
	created, err := postJSON("http://"+b.addrs["posts"+"round"]+"/posts/create", `{"title":"round trips"}`)
	if err != nil {
		return err
	}
	var p event.Post
	if err := json.Unmarshal(created, &p); err != nil {
		return err
	}
	query := "http://" + b.addrs["query"+"round"]
	if err := waitForPost(ctx, query, p.ID); err != nil {
		return err
	}
	live, err := followApprovals(ctx, query)
	if err != nil {
		return err
	}
	var trips []time.Duration
	for i := range 300 {
		begin := time.Now()
		body, err := postJSON("http://"+b.addrs["comments"+"round"]+"/posts/"+p.ID+"/comments", fmt.Sprintf(`{"content":"number %d"}`, i))
		if err != nil {
			return err
		}
		var comments []event.Comment
		if err := json.Unmarshal(body, &comments); err != nil {
			return err
		}
		id := comments[len(comments)-1].ID
		for approved := range live {
			if approved.id == id {
				trips = append(trips, approved.at.Sub(begin))
				break
			}
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	slices.Sort(trips)
	if len(trips) < 300 {
		return fmt.Errorf("the live stream ended after %d comments", len(trips))
	}
	half, most := median(trips), trips[len(trips)*99/100]
	b.bound("comment posted → approved visible in query", fmt.Sprintf("median %v, p99 %v", half.Round(10*time.Microsecond), most.Round(10*time.Microsecond)),
		"median ≤ 4ms, p99 ≤ 20ms", half <= 4*time.Millisecond && most <= 20*time.Millisecond)
	return nil
}

// startBlog starts all services as one blog.
func (b *bench) startBlog(ctx context.Context) error {
	for _, name := range services { // the subscribers' addresses are needed first
		addr, err := freeAddr()
		if err != nil {
			return err
		}
		b.addrs[name+"round"] = addr
	}
	file := filepath.Join(b.dir, "subscribers.json")
	subscribers := fmt.Sprintf(`[{"name":"moderation","url":"http://%s/events","types":["CommentCreated"]},{"name":"comments","url":"http://%s/events","types":["CommentModerated"]}]`,
		b.addrs["moderation"+"round"], b.addrs["comments"+"round"])
	if err := os.WriteFile(file, []byte(subscribers), 0o644); err != nil {
		return err
	}
	for _, name := range services {
		_, err := b.start(ctx, name, "round", "SUBSCRIBERS_FILE="+file, "EVENT_BUS_URL=http://"+b.addrs["event-bus"+"round"])
		if err != nil {
			return err
		}
	}
	return nil
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

// idle measures what a service costs that does nothing.
func (b *bench) idle(ctx context.Context, o options) error {
	if err := b.startBlog(ctx); err != nil {
		return err
	}
	for _, p := range b.processes {
		now, _ := p.memory()
		b.bound("an idle "+p.name, fmt.Sprintf("%.0f MB, ready after %v", now, p.took.Round(time.Millisecond)), "≤ 30 MB, ≤ 200ms", now <= 30 && p.took <= 200*time.Millisecond)
	}
	return nil
}
