package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"
)

// load is a closed loop: each connection sends its next request when the last
// one is answered. It speaks just enough HTTP/1.1 to cost little beside what is
// measured.
type load struct {
	addr        string
	connections int
	// request returns the bytes of the next request of a connection; they are
	// used before it is called again for that connection.
	request func(connection, n int) []byte
	length  time.Duration
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

// warmup is the part of a load that is not measured.
const warmup = 500 * time.Millisecond

// run blocks until the load is over. An answer that is no success is an error.
func (l load) run(ctx context.Context) (measured, error) {
	ctx, cancel := context.WithTimeout(ctx, warmup+l.length)
	defer cancel()
	start := time.Now().Add(warmup)
	perConnection := make([][]time.Duration, l.connections)
	errs := make([]error, l.connections)
	var all sync.WaitGroup
	for c := range l.connections {
		all.Go(func() { perConnection[c], errs[c] = l.connection(ctx, c, start) })
	}
	all.Wait()
	m := measured{elapsed: time.Since(start)}
	for _, waits := range perConnection {
		m.waits = append(m.waits, waits...)
	}
	slices.Sort(m.waits)
	m.requests = len(m.waits)
	return m, errors.Join(errs...)
}

func (l load) connection(ctx context.Context, c int, start time.Time) (waits []time.Duration, err error) {
	conn, err := net.Dial("tcp", l.addr)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	answers := bufio.NewReaderSize(conn, 64<<10)
	for n := 0; ctx.Err() == nil; n++ {
		sent := time.Now()
		if _, err := conn.Write(l.request(c, n)); err != nil {
			return nil, err
		}
		if err := skipAnswer(answers); err != nil {
			return nil, fmt.Errorf("%s: %w", l.addr, err)
		}
		if sent.After(start) {
			waits = append(waits, time.Since(sent))
		}
	}
	return waits, nil
}

// skipAnswer reads one answer with a Content-Length.
func skipAnswer(r *bufio.Reader) error {
	status, err := r.ReadSlice('\n')
	if err != nil {
		return err
	}
	if len(status) < 12 || status[9] != '2' {
		rest, _ := r.Peek(r.Buffered())
		return fmt.Errorf("answered %q %q", status, rest)
	}
	length := -1
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return err
		}
		if len(line) <= 2 {
			break
		}
		if value, ok := bytes.CutPrefix(line, []byte("Content-Length: ")); ok {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return err
			}
		}
	}
	if length < 0 {
		return errors.New("the answer has no Content-Length")
	}
	_, err = io.CopyN(io.Discard, r, int64(length))
	return err
}

// post returns the bytes of a POST.
func post(path, contentType string, body []byte) []byte {
	return fmt.Appendf(nil, "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s", path, contentType, len(body), body)
}

// get returns the bytes of a GET.
func get(path string) []byte {
	return fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", path)
}
