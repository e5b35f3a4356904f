package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
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
		bytes, took, err := download(ctx, bus.addr, form.accept, form.encoding)
		if err != nil {
			return err
		}
		_, highest := bus.memory()
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

// followers measures how long events take to many who follow the bus's stream.
func (b *bench) followers(ctx context.Context, o options) error {
	const followers, perSecond = 1000, 200
	bus, err := b.start(ctx, "event-bus", "followers", noSubscribers(b.dir))
	if err != nil {
		return err
	}
	n := int(o.length.Seconds() * perSecond)
	sent := make([]time.Time, n)
	waits := make([][]time.Duration, followers)
	errs := make([]error, followers)
	var connected, all sync.WaitGroup
	connected.Add(followers)
	for f := range followers {
		all.Go(func() { waits[f], errs[f] = follow(ctx, bus.addr, sent, connected.Done) })
	}
	connected.Wait()
	tick := time.NewTicker(time.Second / perSecond)
	defer tick.Stop()
	for i := range sent {
		<-tick.C
		sent[i] = time.Now()
		if _, err := postEvent(bus.addr, fmt.Sprintf(`{"type":"Tick","data":%d}`, i)); err != nil {
			return err
		}
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	merged := slices.Concat(waits...)
	slices.Sort(merged)
	most := merged[len(merged)*99/100]
	_, highest := bus.memory()
	b.bound(fmt.Sprintf("%d SSE followers, %d events/s, each gets every event", followers, perSecond), fmt.Sprintf("p99 %v, bus %.0f MB", most.Round(100*time.Microsecond), highest),
		"p99 ≤ 100ms, ≤ 200 MB", most <= 100*time.Millisecond && highest <= 200)
	return nil
}

func postEvent(addr, body string) ([]byte, error) {
	r, err := http.Post("http://"+addr+"/events", "application/json", strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	defer r.Body.Close()
	answer, err := io.ReadAll(r.Body)
	if err == nil && r.StatusCode != http.StatusOK {
		err = fmt.Errorf("publishing: %s: %s", r.Status, answer)
	}
	return answer, err
}

// follow reads the stream until it has had every event, in order, and returns
// how long each took.
func follow(ctx context.Context, addr string, sent []time.Time, connected func()) (waits []time.Duration, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/events", nil)
	if err != nil {
		connected()
		return nil, err
	}
	request.Header.Set("Accept", "text/event-stream")
	r, err := http.DefaultClient.Do(request)
	connected()
	if err != nil {
		return nil, err
	}
	defer r.Body.Close()
	lines := bufio.NewReaderSize(r.Body, 8<<10)
	for len(waits) < len(sent) && err == nil {
		var line []byte
		if line, err = lines.ReadSlice('\n'); !bytes.HasPrefix(line, []byte("data: ")) {
			continue
		}
		number := line[bytes.LastIndexByte(line, ':')+1:]
		i, bad := strconv.Atoi(string(bytes.TrimRight(number, "}\n")))
		if bad != nil || i != len(waits) {
			return nil, fmt.Errorf("event %d came as %q", len(waits), line)
		}
		waits = append(waits, time.Since(sent[i]))
	}
	return waits, err
}

// pushing measures how fast a subscriber that takes its time is served.
func (b *bench) pushing(ctx context.Context, o options) error {
	const events, subjects, lanes = 20_000, 1000, 16
	const answerAfter = time.Millisecond
	bus, err := b.start(ctx, "event-bus", "push", noSubscribers(b.dir))
	if err != nil {
		return err
	}
	var batch []event.Event
	for i := range events {
		batch = append(batch, event.New(event.NewID(), "/bench", "Pushed", strconv.Itoa(i%subjects), i))
	}
	body, err := json.Marshal(batch)
	if err != nil {
		return err
	}
	r, err := http.Post("http://"+bus.addr+"/events", "application/cloudevents-batch+json", bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Body.Close()
	bus.stop()

	arrived := make(chan time.Time, events)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	subscriber := http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		time.Sleep(answerAfter)
		arrived <- time.Now()
	})}
	go subscriber.Serve(listener)
	defer subscriber.Close()
	file := filepath.Join(b.dir, "one-subscriber.json")
	entry := fmt.Sprintf(`[{"name":"bench","url":"http://%s/"}]`, listener.Addr())
	if err := os.WriteFile(file, []byte(entry), 0o644); err != nil {
		return err
	}
	if _, err := b.start(ctx, "event-bus", "push", "SUBSCRIBERS_FILE="+file); err != nil {
		return err
	}
	var first, last time.Time
	for i := range events {
		select {
		case last = <-arrived:
		case <-ctx.Done():
			return ctx.Err()
		}
		if i == 0 {
			first = last
		}
	}
	rate, ideal := float64(events)/last.Sub(first).Seconds(), lanes/answerAfter.Seconds()
	b.rows = append(b.rows, row{what: fmt.Sprintf("push %d events of %d subjects to a subscriber that takes 1 ms", events, subjects),
		figure: fmt.Sprintf("%.0f/s", rate), baseline: fmt.Sprintf("%.0f/s in %d lanes", ideal, lanes), ratio: fmt.Sprintf("%.2f", rate/ideal), target: "≥ 0.60", ok: rate/ideal >= 0.6})
	return nil
}
