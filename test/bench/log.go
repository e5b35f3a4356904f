package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/go-json-experiment/json"

	"miniblog/internal/event"
)

// log measures what the log costs on disk and how fast it is read.
func (b *bench) log(ctx context.Context, o options) error {
	bus, err := b.start(ctx, "event-bus", "log", noSubscribers(b.dir))
	if err != nil {
		return err
	}
	if err := b.fill(ctx, bus, newBlog(6), o.events); err != nil {
		return err
	}
	dir := filepath.Join(b.dir, "data", "log", "event-bus")
	if err := waitSealed(ctx, dir); err != nil {
		return err
	}
	for _, form := range []struct {
		name, accept, encoding string
		atLeast                float64
	}{
		{"zstd, as it is on disk", "application/x-ndjson", "zstd", 10e6},
		{"NDJSON", "application/x-ndjson", "identity", 2e6},
		{"JSON array", "application/json", "identity", 1.5e6},
	} {
		before, _ := bus.memory()
		watch := bus.watchMemory()
		bytes, took, err := download(ctx, bus.addr, form.accept, form.encoding)
		highest := watch()
		if err != nil {
			return err
		}
		rate := float64(o.events) / took.Seconds()
		b.bound(fmt.Sprintf("%d events to one reader, %s", o.events, form.name),
			fmt.Sprintf("%.1f million/s (%.0f MB/s), bus +%.0f MB", rate/1e6, float64(bytes)/1e6/took.Seconds(), max(0, highest-before)),
			fmt.Sprintf("≥ %.1f million/s, +32 MB", form.atLeast/1e6), rate >= form.atLeast && highest-before < 32)
		if form.encoding == "identity" && form.accept == "application/x-ndjson" {
			stored, err := sealedBytes(dir)
			if err != nil {
				return err
			}
			each := float64(stored) / float64(o.events)
			b.bound("on disk", fmt.Sprintf("%.1f bytes an event, of %.0f", each, float64(bytes)/float64(o.events)), "≤ 40 bytes", each <= 40)
		}
	}
	waits, err := lookUps(ctx, bus.addr, o.events)
	if err != nil {
		return err
	}
	most := waits[len(waits)*99/100]
	b.bound(fmt.Sprintf("GET /events?after=N&limit=1 anywhere in %d events", o.events), "p99 "+most.Round(10*time.Microsecond).String(), "≤ 2ms", most <= 2*time.Millisecond)
	bus.stop()
	if bus, err = b.start(ctx, "event-bus", "log", noSubscribers(b.dir)); err != nil {
		return err
	}
	b.bound(fmt.Sprintf("open a log of %d events", o.events), bus.took.Round(time.Millisecond).String(), "≤ 500ms", bus.took <= 500*time.Millisecond)
	return nil
}

// waitSealed blocks until only the newest segment is not sealed.
func waitSealed(ctx context.Context, dir string) error {
	for {
		active, err := filepath.Glob(filepath.Join(dir, "*.active.zst"))
		if err != nil || len(active) <= 1 {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// sealedBytes returns the length of all segments.
func sealedBytes(dir string) (total int64, err error) {
	segments, err := filepath.Glob(filepath.Join(dir, "*.zst"))
	for _, s := range segments {
		info, err := os.Stat(s)
		if err != nil {
			return 0, err
		}
		total += info.Size()
	}
	return total, err
}

// download reads the whole log in one form, without looking at it.
func download(ctx context.Context, addr, accept, encoding string) (int64, time.Duration, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/events", nil)
	if err != nil {
		return 0, 0, err
	}
	request.Header.Set("Accept", accept)
	request.Header.Set("Accept-Encoding", encoding)
	begin := time.Now()
	r, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, 0, err
	}
	defer r.Body.Close()
	n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, r.Body, make([]byte, 256<<10))
	return n, time.Since(begin), err
}

// lookUps asks for single events at random places and returns the sorted waits.
func lookUps(ctx context.Context, addr string, events int) (waits []time.Duration, err error) {
	random := rand.New(rand.NewPCG(7, 7))
	for range 1000 {
		after := random.IntN(events)
		begin := time.Now()
		r, err := http.Get(fmt.Sprintf("http://%s/events?after=%d&limit=1", addr, after))
		if err != nil {
			return nil, err
		}
		var got []event.Event
		err = json.UnmarshalRead(r.Body, &got)
		r.Body.Close()
		if err != nil || len(got) != 1 || got[0].Sequence != event.Sequence(after+1) {
			return nil, fmt.Errorf("after %d: %d events, %v", after, len(got), err)
		}
		waits = append(waits, time.Since(begin))
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
	slices.Sort(waits)
	return waits, nil
}
