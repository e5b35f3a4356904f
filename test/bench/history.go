package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
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
