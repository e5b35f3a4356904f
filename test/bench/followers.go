package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

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
