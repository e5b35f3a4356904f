package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"sync"
	"time"
)

// load is a closed loop: each connection sends its next request when the last
// one is answered. It calls as services call one another, with net/http.
type load struct {
	url         string
	contentType string // of a POST; without it, it is a GET
	connections int
	// body returns the next body of a connection; it is used before the next
	// one is asked for.
	body   func(connection, n int) []byte
	length time.Duration
}

// measured is what a load came to.
type measured struct {
	requests int
	elapsed  time.Duration
	waits    []time.Duration // of all requests, sorted
}

func (m measured) perSecond() float64 { return float64(m.requests) / m.elapsed.Seconds() }

// at returns the wait that a share of the requests, from 0 to 1, did not exceed.
func (m measured) at(share float64) time.Duration {
	if len(m.waits) == 0 {
		return 0
	}
	return m.waits[min(len(m.waits)-1, int(share*float64(len(m.waits))))]
}

func (m measured) String() string {
	return fmt.Sprintf("%.0f/s, p99 %v", m.perSecond(), m.at(.99).Round(10*time.Microsecond))
}

// warmup is the part of a load that is not measured.
const warmup = 500 * time.Millisecond

// run blocks until the load is over. An answer that is no success is an error.
func (l load) run(ctx context.Context) (measured, error) {
	transport := &http.Transport{MaxIdleConnsPerHost: l.connections, DisableCompression: true}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	start := time.Now().Add(warmup)
	end := start.Add(l.length)
	perConnection := make([][]time.Duration, l.connections)
	errs := make([]error, l.connections)
	var all sync.WaitGroup
	for c := range l.connections {
		all.Go(func() {
			for n := 0; ctx.Err() == nil && time.Now().Before(end) && errs[c] == nil; n++ {
				sent := time.Now()
				errs[c] = l.send(ctx, client, c, n)
				if sent.After(start) {
					perConnection[c] = append(perConnection[c], time.Since(sent))
				}
			}
		})
	}
	all.Wait()
	m := measured{elapsed: time.Since(start)}
	for _, waits := range perConnection {
		m.waits = append(m.waits, waits...)
	}
	slices.Sort(m.waits)
	m.requests = len(m.waits)
	return m, errors.Join(errors.Join(errs...), ctx.Err())
}

// send sends one request and reads its answer.
func (l load) send(ctx context.Context, client *http.Client, c, n int) error {
	method, body := http.MethodGet, io.Reader(nil)
	if l.contentType != "" {
		method, body = http.MethodPost, bytes.NewReader(l.body(c, n))
	}
	request, err := http.NewRequestWithContext(ctx, method, l.url, body)
	if err != nil {
		return err
	}
	if l.contentType != "" {
		request.Header.Set("Content-Type", l.contentType)
	}
	answer, err := client.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode >= 300 {
		text, _ := io.ReadAll(answer.Body)
		return fmt.Errorf("%s answered %s: %s", l.url, answer.Status, text)
	}
	_, err = io.Copy(io.Discard, answer.Body)
	return err
}

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
