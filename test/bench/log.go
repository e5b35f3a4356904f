package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
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
	dir := b.data("event-bus", "log")
	if err := waitSealed(ctx, dir); err != nil {
		return err
	}
	for _, f := range forms {
		before, _ := bus.memory()
		got, err := f.readAll(ctx, bus)
		if err != nil {
			return err
		}
		rate, grown := float64(o.events)/got.took.Seconds(), max(0, got.highest-before)
		b.bound(fmt.Sprintf("%d events to one reader, %s", o.events, f.name),
			fmt.Sprintf("%.1f million/s (%.0f MB/s), bus +%.0f MB", rate/1e6, float64(got.bytes)/1e6/got.took.Seconds(), grown),
			fmt.Sprintf("≥ %.1f million/s, +32 MB", f.atLeast/1e6), rate >= f.atLeast && grown < 32)
		if f.name == "NDJSON" {
			disk, err := segmentsIn(dir)
			if err != nil {
				return err
			}
			each := float64(disk.bytes) / float64(o.events)
			b.bound("on disk", fmt.Sprintf("%.1f bytes an event, of %.0f", each, float64(got.bytes)/float64(o.events)), "≤ 40 bytes", each <= 40)
		}
	}
	waits, err := lookUps(ctx, bus.addr, o.events)
	if err != nil {
		return err
	}
	most := waits[len(waits)*99/100]
	b.bound(fmt.Sprintf("GET /events?after=N&limit=1 anywhere in %d events", o.events), "p99 "+most.Round(10*time.Microsecond).String(), "≤ 2ms", most <= 2*time.Millisecond)
	bus.stop()
	_, took, err := b.reopen(ctx, "event-bus", "log", noSubscribers(b.dir))
	if err != nil {
		return err
	}
	b.bound(fmt.Sprintf("open a log of %d events", o.events), took.Round(time.Millisecond).String(), "≤ 500ms", took <= 500*time.Millisecond)
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

// segments is what lies in the folder of a log.
type segments struct {
	bytes        int64          // of all of them
	sealed       int64          // of those that are sealed
	sealedEvents event.Sequence // in these
}

func segmentsIn(dir string) (s segments, err error) {
	names, err := filepath.Glob(filepath.Join(dir, "*.zst")) // sorted, the newest last and active
	for _, name := range names {
		info, err := os.Stat(name)
		if err != nil {
			return s, err
		}
		s.bytes += info.Size()
		digits, active := strings.CutSuffix(filepath.Base(name), ".active.zst")
		if !active {
			s.sealed += info.Size()
			continue
		}
		first, err := event.ParseSequence(digits)
		if err != nil {
			return s, err
		}
		s.sealedEvents = first - 1
	}
	return s, err
}

// form is a way of reading the whole log.
type form struct {
	name, accept, encoding string
	atLeast                float64 // events/s
}

var forms = []form{
	{"zstd", "application/x-ndjson", "zstd", 10e6},
	{"NDJSON", "application/x-ndjson", "identity", 2e6},
	{"JSON array", "application/json", "identity", 1.5e6},
}

// reading is what reading the whole log came to.
type reading struct {
	bytes   int64
	took    time.Duration
	highest float64 // the bus's resident memory, in MB
}

// readAll reads the whole log, a short one many times: bytes and took are of
// one time.
func (f form) readAll(ctx context.Context, bus *process) (got reading, err error) {
	stop := bus.watchMemory()
	defer func() { got.highest = stop() }()
	times := 0
	for begin := time.Now(); times == 0 || time.Since(begin) < 500*time.Millisecond; times++ {
		bytes, took, err := download(ctx, bus.addr, f.accept, f.encoding)
		if err != nil {
			return got, err
		}
		got.bytes, got.took = bytes, got.took+took
	}
	got.took /= time.Duration(times)
	return got, nil
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

// lookUps asks for single events at random places, as curl does, and returns the
// sorted waits. The bench collects no garbage meanwhile: that it waits for itself
// is not the bus's doing.
func lookUps(ctx context.Context, addr string, events int) (waits []time.Duration, err error) {
	runtime.GC()
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	client := http.Client{Transport: &http.Transport{DisableCompression: true}}
	defer client.CloseIdleConnections()
	random := rand.New(rand.NewPCG(7, 7))
	for range 5000 {
		after := random.IntN(events)
		begin := time.Now()
		r, err := client.Get(fmt.Sprintf("http://%s/events?after=%d&limit=1", addr, after))
		if err != nil {
			return nil, err
		}
		body, err := io.ReadAll(r.Body)
		r.Body.Close()
		if err != nil {
			return nil, err
		}
		waits = append(waits, time.Since(begin))
		var got []event.Event
		if err := json.Unmarshal(body, &got); err != nil || len(got) != 1 || got[0].Sequence != event.Sequence(after+1) {
			return nil, fmt.Errorf("after %d: %d events, %v", after, len(got), err)
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
	slices.Sort(waits)
	return waits, nil
}
