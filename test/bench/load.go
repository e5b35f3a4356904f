package main

import (
	"context"
	"fmt"
	"net/url"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// load is a closed loop: each connection sends its next request when the last
// one is answered. One thread serves all connections with poll(2), so that it
// takes a small part of what it measures.
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

// stall is how long no connection may be answered before the load gives up.
const stall = 10 * time.Second

// run blocks until the load is over. An answer that is no success is an error.
func (l load) run(ctx context.Context) (m measured, err error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	connections, err := l.connect()
	defer func() {
		for _, c := range connections {
			c.close()
		}
	}()
	if err != nil {
		return m, err
	}
	start := time.Now().Add(warmup)
	end := start.Add(l.length)
	ready := make([]unix.PollFd, len(connections))
	buf := make([]byte, 256<<10)
	for i, c := range connections {
		c.send(l.body)
		ready[i].Fd = int32(c.fd)
	}
	for now := time.Now(); now.Before(end); now = time.Now() {
		if err := ctx.Err(); err != nil {
			return m, err
		}
		for i, c := range connections {
			ready[i].Events = c.waitsFor()
		}
		n, err := unix.Poll(ready, int(stall.Milliseconds()))
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return m, fmt.Errorf("poll: %w", err)
		}
		if n == 0 {
			return m, fmt.Errorf("%s answered no connection for %v", l.url, stall)
		}
		for i, c := range connections {
			if ready[i].Revents == 0 {
				continue
			}
			answered, err := c.proceed(buf)
			if err != nil {
				return m, fmt.Errorf("%s: %w", l.url, err)
			}
			if !answered {
				continue
			}
			if c.sent.After(start) {
				m.waits = append(m.waits, time.Since(c.sent))
			}
			c.send(l.body)
		}
	}
	m.elapsed = time.Since(start)
	m.requests = len(m.waits)
	slices.Sort(m.waits)
	return m, nil
}

// connect opens the load's connections. It also returns those that it has
// opened before an error.
func (l load) connect() (connections []*connection, err error) {
	to, err := url.Parse(l.url)
	if err != nil {
		return nil, err
	}
	head := fmt.Sprintf("GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", to.RequestURI(), to.Host)
	if l.contentType != "" {
		head = fmt.Sprintf("POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: %s\r\nContent-Length: ", to.RequestURI(), to.Host, l.contentType)
	}
	for i := range l.connections {
		c, err := dial(to.Host, []byte(head), i)
		if err != nil {
			return connections, err
		}
		connections = append(connections, c)
	}
	return connections, nil
}

// beside measures a load and the bare handler around it, half before and half
// after, so that a machine that slows down slows both.
func (b *bench) beside(ctx context.Context, l load) (got, bare measured, err error) {
	p, err := b.startBare(ctx)
	if err != nil {
		return got, bare, err
	}
	defer b.stop(p)
	half := l
	half.url, half.length = "http://"+p.addr+"/", l.length/2
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
