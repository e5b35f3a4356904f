package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/klauspost/compress/zstd"
)

// history measures what a long log costs those who read it.
func (b *bench) history(ctx context.Context, o options) error {
	bus, err := b.start(ctx, "event-bus", "history", noSubscribers(b.dir))
	if err != nil {
		return err
	}
	if err := b.fill(ctx, bus, newBlog(5), o.events); err != nil {
		return err
	}
	if err := waitSealed(ctx, b.data("event-bus", "history")); err != nil {
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

	query, err := b.join(ctx, bus)
	if err != nil {
		return err
	}
	b.bound(fmt.Sprintf("a query with an empty disk joins %d events", events), fmt.Sprintf("%v, %.0f MB at most", query.took.Round(time.Millisecond), query.highest),
		"≤ 4s, ≤ 150 MB", query.took <= 4*time.Second && query.highest <= 150)
	b.bound("another one takes a snapshot of it", fmt.Sprintf("%v, %.0f MB at most", query.copied.took.Round(time.Millisecond), query.copied.highest),
		"≤ 5s, ≤ 150 MB", query.copied.took <= 5*time.Second && query.copied.highest <= 150)
	b.bound("the same query restarted", "ready after "+query.again.Round(time.Millisecond).String(), "≤ 500ms", query.again <= 500*time.Millisecond)
	return nil
}

// joined is what it came to that a query with an empty disk became ready.
type joined struct {
	took    time.Duration
	highest float64 // its resident memory until then, in MB
}

// joining is what it came to that a query joined.
type joining struct {
	joined               // from the log
	copied joined        // another one, from the first one's snapshot
	again  time.Duration // until it was ready when it was restarted
}

// join lets a query with an empty disk read the bus's history, and then another one
// take what the first has.
func (b *bench) join(ctx context.Context, bus *process) (j joining, err error) {
	const first, second = "join", "join-copied"
	upstream := "EVENT_BUS_URL=http://" + bus.addr
	snapshots, err := freeAddr()
	if err != nil {
		return j, err
	}
	query, err := b.emptyQuery(ctx, first, &j.joined, upstream, "SNAPSHOT_ADDR="+snapshots)
	if err != nil {
		return j, err
	}
	other, err := b.emptyQuery(ctx, second, &j.copied, upstream, "SNAPSHOT_URL=http://"+snapshots)
	if err != nil {
		return j, err
	}
	other.stop()
	query.stop()
	if query, j.again, err = b.reopen(ctx, "query", first, upstream); err == nil {
		query.stop()
	}
	return j, err
}

// emptyQuery starts a query with an empty disk and notes what it came to.
func (b *bench) emptyQuery(ctx context.Context, data string, j *joined, env ...string) (*process, error) {
	if err := os.RemoveAll(b.data("query", data)); err != nil {
		return nil, err
	}
	query, err := b.start(ctx, "query", data, env...)
	if err != nil {
		return nil, err
	}
	j.took = query.took
	_, j.highest = query.memory()
	return query, nil
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
