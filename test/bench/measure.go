package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/klauspost/compress/zstd"

	"miniblog/internal/event"
)

func absolute(path string) (string, error) { return filepath.Abs(path) }

// beside measures a load and the bare handler around it, half before and half
// after, so that a machine that slows down slows both.
func (b *bench) beside(ctx context.Context, l load) (got, bare measured, err error) {
	self, err := os.Executable()
	if err != nil {
		return got, bare, err
	}
	addr, err := freeAddr()
	if err != nil {
		return got, bare, err
	}
	p, err := b.startCommand(ctx, "bare", addr, self, []string{"-bare", addr}, nil)
	if err != nil {
		return got, bare, err
	}
	defer p.stop()
	half := l
	half.url, half.length = "http://"+addr+"/", l.length/2
	before, err := half.run(ctx)
	if err != nil {
		return got, bare, err
	}
	if got, err = l.run(ctx); err != nil {
		return got, bare, err
	}
	after, err := half.run(ctx)
	bare = measured{requests: before.requests + after.requests, elapsed: before.elapsed + after.elapsed}
	return got, bare, err
}

// publishing measures the bus alone: durable, one event a request and in batches.
func (b *bench) publishing(ctx context.Context, o options) error {
	bus, err := b.start(ctx, "event-bus", "publish", noSubscribers(b.dir))
	if err != nil {
		return err
	}
	syncs, err := syncRate(b.dir, o.length/2)
	if err != nil {
		return err
	}
	l := load{url: "http://" + bus.addr + "/events", contentType: "application/json", connections: 1, length: o.length, body: newBlog(1).singles(1)}
	got, err := l.run(ctx)
	if err != nil {
		return err
	}
	ratio := got.perSecond() / syncs
	b.rows = append(b.rows, row{what: "publish one event a request, durable, 1 connection", figure: got.String(),
		baseline: fmt.Sprintf("%.0f syncs/s of 4 KiB", syncs), ratio: fmt.Sprintf("%.2f", ratio), target: "≥ 0.45", ok: ratio >= 0.45})
	for _, c := range []struct {
		connections int
		atLeast     float64
	}{{32, 0.42}, {64, 0.48}, {256, 0.55}} {
		l.connections, l.body = c.connections, newBlog(1).singles(c.connections)
		got, bare, err := b.beside(ctx, l)
		if err != nil {
			return err
		}
		b.rate(fmt.Sprintf("publish one event a request, durable, %d connections", c.connections), got, bare, c.atLeast)
	}

	const size, connections = 1000, 4
	l = load{url: l.url, contentType: "application/cloudevents-batch+json", connections: connections, length: o.length, body: newBlog(2).batches(size, connections)}
	batches, err := l.run(ctx)
	if err != nil {
		return err
	}
	rate := batches.perSecond() * size
	b.bound("publish in batches of 1,000, durable", fmt.Sprintf("%.0f events/s", rate), "≥ 600000 events/s", rate >= 600_000)
	return nil
}

// syncRate measures how often in a second this disk takes 4 KiB more of a file.
func syncRate(dir string, length time.Duration) (float64, error) {
	f, err := os.Create(filepath.Join(dir, "syncs"))
	if err != nil {
		return 0, err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	block := make([]byte, 4096)
	n := 0
	begin := time.Now()
	for time.Since(begin) < length {
		if _, err := f.Write(block); err != nil {
			return 0, err
		}
		if err := f.Sync(); err != nil {
			return 0, err
		}
		n++
	}
	return float64(n) / time.Since(begin).Seconds(), nil
}

// singles returns bodies that publish one event each; the ids are new every time.
func (b *blog) singles(connections int) func(int, int) []byte {
	templates := make([][]byte, connections)
	ids := make([][]byte, connections) // within the template
	for c := range templates {
		id := event.NewID()
		e := b.at(0, event.New(id, "/posts", event.PostCreated, "", event.Post{ID: "0123456789", Title: b.text(8)}))
		line, err := event.AppendLine(nil, &e)
		if err != nil {
			panic(err)
		}
		templates[c] = line
		at := strings.Index(string(templates[c]), id)
		ids[c] = templates[c][at : at+len(id)]
	}
	return func(c, _ int) []byte {
		copy(ids[c], event.NewID())
		return templates[c]
	}
}

// batches returns bodies that publish size events each. The events are made
// beforehand; each body gets ids of its own by counting up their last digits.
func (b *blog) batches(size, connections int) func(int, int) []byte {
	templates := make([][]byte, connections)
	ids := make([][][]byte, connections)
	for c := range templates {
		templates[c] = b.batch(size)
		rest := templates[c]
		for {
			at := strings.Index(string(rest), `"sequence":"00000000000000000000","id":"`)
			if at < 0 {
				break
			}
			at += len(`"sequence":"00000000000000000000","id":"`)
			ids[c] = append(ids[c], rest[at+24:at+36])
			rest = rest[at+36:]
		}
	}
	count := make([]uint64, connections)
	return func(c, _ int) []byte {
		for _, id := range ids[c] {
			count[c]++
			n := count[c]*uint64(connections) + uint64(c)
			for i := range id {
				id[i] = "0123456789abcdef"[n>>(4*uint(len(id)-1-i))&15]
			}
		}
		return templates[c]
	}
}

// noSubscribers returns the setting of a bus that pushes to nobody.
func noSubscribers(dir string) string {
	path := filepath.Join(dir, "no-subscribers.json")
	if err := os.WriteFile(path, []byte("[]\n"), 0o644); err != nil {
		panic(err)
	}
	return "SUBSCRIBERS_FILE=" + path
}

// posts measures creating posts and reading pages of them.
func (b *bench) posts(ctx context.Context, o options) error {
	bus, err := b.start(ctx, "event-bus", "posts", noSubscribers(b.dir))
	if err != nil {
		return err
	}
	posts, err := b.start(ctx, "posts", "posts", "EVENT_BUS_URL=http://"+bus.addr)
	if err != nil {
		return err
	}
	titles := newBlog(3)
	bodies := make([][]byte, 512)
	for i := range bodies {
		bodies[i] = fmt.Appendf(nil, `{"title":"%s"}`, titles.text(8))
	}
	l := load{
		url: "http://" + posts.addr + "/posts/create", contentType: "application/json", connections: 32, length: o.length,
		body: func(c, n int) []byte { return bodies[(c*31+n)%len(bodies)] },
	}
	got, bare, err := b.beside(ctx, l)
	if err != nil {
		return err
	}
	b.rate("create a post, durable, read-your-write, 32 connections", got, bare, 0.12)
	posts.stop()

	if bus, err = b.start(ctx, "event-bus", "pages", noSubscribers(b.dir)); err != nil {
		return err
	}
	if err := b.fill(ctx, bus, newBlog(4), 10_000*(1+3*commentsPerPost)); err != nil {
		return err
	}
	query, err := b.start(ctx, "query", "pages", "EVENT_BUS_URL=http://"+bus.addr)
	if err != nil {
		return err
	}
	l = load{url: "http://" + query.addr + "/posts?limit=20", connections: 64, length: o.length}
	if got, bare, err = b.beside(ctx, l); err != nil {
		return err
	}
	b.rate("GET /posts, 20 with comments out of 10,000, 64 connections", got, bare, 0.40)
	return nil
}

// fill publishes n events in batches.
func (b *bench) fill(ctx context.Context, bus *process, from *blog, n int) error {
	const size = 5000
	for n > 0 {
		body := from.batch(min(size, n))
		n -= size
		r, err := http.Post("http://"+bus.addr+"/events", "application/cloudevents-batch+json", strings.NewReader(string(body)))
		if err != nil {
			return err
		}
		answer, _ := io.ReadAll(r.Body)
		r.Body.Close()
		if r.StatusCode != http.StatusOK {
			return fmt.Errorf("filling the log: %s: %s", r.Status, answer)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return nil
}

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

// history measures what a long log costs those who read it.
func (b *bench) history(ctx context.Context, o options) error {
	bus, err := b.start(ctx, "event-bus", "history", noSubscribers(b.dir))
	if err != nil {
		return err
	}
	if err := b.fill(ctx, bus, newBlog(5), o.events); err != nil {
		return err
	}
	events, took, err := fetchAll(ctx, bus.addr)
	if err != nil {
		return err
	}
	if events != o.events {
		return fmt.Errorf("fetched %d events of %d", events, o.events)
	}
	b.bound(fmt.Sprintf("the bus sends %d events to one fetching reader (zstd)", events), took.Round(time.Millisecond).String(), "≤ 1s", took <= time.Second)

	query, err := b.start(ctx, "query", "history", "EVENT_BUS_URL=http://"+bus.addr)
	if err != nil {
		return err
	}
	_, highest := query.memory()
	b.bound(fmt.Sprintf("a query with an empty disk joins %d events", events), fmt.Sprintf("%v, %.0f MB at most", query.took.Round(time.Millisecond), highest),
		"≤ 4s, ≤ 150 MB", query.took <= 4*time.Second && highest <= 150)
	query.stop()
	if query, err = b.start(ctx, "query", "history", "EVENT_BUS_URL=http://"+bus.addr); err != nil {
		return err
	}
	b.bound("the same query restarted", "ready after "+query.took.Round(time.Millisecond).String(), "≤ 500ms", query.took <= 500*time.Millisecond)
	return nil
}

var newline = []byte{'\n'}

// fetchAll fetches the whole log as a service does and counts the events.
func fetchAll(ctx context.Context, addr string) (events int, took time.Duration, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/events?after=0", nil)
	if err != nil {
		return 0, 0, err
	}
	request.Header.Set("Accept", "application/x-ndjson")
	request.Header.Set("Accept-Encoding", "zstd")
	begin := time.Now()
	r, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, 0, err
	}
	defer r.Body.Close()
	d, err := zstd.NewReader(r.Body)
	if err != nil {
		return 0, 0, err
	}
	defer d.Close()
	buf := make([]byte, 1<<20)
	for {
		n, err := d.Read(buf)
		events += bytes.Count(buf[:n], newline)
		if err == io.EOF {
			return events, time.Since(begin), nil
		}
		if err != nil {
			return events, 0, err
		}
	}
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
