// Package bus is the client of the event bus: it publishes events, fetches the
// log, and follows it.
//
// Its law: an event keeps its id at every attempt, so that trying again is
// always safe; and a gap in what is fetched is an error, never passed over. A
// follower gets the events of the types that it asks for, and is told how far the
// log has gone.
package bus

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/klauspost/compress/zstd"
)

// Client speaks to one event bus. It is safe for concurrent use.
type Client struct {
	base   string
	agent  string
	http   *http.Client
	outbox outbox
	zstd   sync.Pool // of *zstd.Decoder

	stall   time.Duration // how long a fetch may go without a byte
	silence time.Duration // how long a stream may, whose bus says that it is there
}

// New returns a client of the bus at base, a URL without a trailing slash.
func New(base string) *Client {
	return &Client{
		base: base, agent: userAgent(), outbox: outbox{most: 1},
		stall: 20 * time.Second, silence: 4 * heartbeat,
		http: &http.Client{Transport: &http.Transport{
			DialContext:         (&net.Dialer{Timeout: time.Second, KeepAlive: 15 * time.Second}).DialContext,
			MaxIdleConnsPerHost: 16,
			IdleConnTimeout:     90 * time.Second,
			DisableCompression:  true, // Fetch asks for zstd itself
			WriteBufferSize:     32 << 10,
			ReadBufferSize:      32 << 10,
		}},
		zstd: sync.Pool{New: func() any {
			d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
			if err != nil {
				panic("bus: " + err.Error()) // the options are constant
			}
			return d
		}},
	}
}

// Close gives back idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// refusal returns what a bus said with a status other than 2xx.
func refusal(resp *http.Response) error {
	var problem struct {
		Detail string `json:"detail"`
	}
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if json.Unmarshal(body, &problem) != nil || problem.Detail == "" {
		problem.Detail = strings.TrimSpace(fmt.Sprintf("%.200s", strings.ToValidUTF8(string(body), "�")))
	}
	return &statusError{resp.StatusCode, problem.Detail}
}

type statusError struct {
	status int
	detail string
}

func (e *statusError) Error() string {
	return fmt.Sprintf("the event bus answered %d %s: %s", e.status, http.StatusText(e.status), e.detail)
}

// final tells whether trying again cannot help.
func (e *statusError) final() bool {
	switch e.status {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return false
	}
	return e.status < 500
}

// Backoff is the pause between attempts: it doubles from First to Most, with
// jitter so that clients that failed together do not come back together.
type Backoff struct {
	First, Most time.Duration
	next        time.Duration
}

// Wait pauses, or returns early when ctx ends.
func (b *Backoff) Wait(ctx context.Context) {
	b.next = min(max(2*b.next, b.First), b.Most)
	timer := time.NewTimer(b.next/2 + rand.N(b.next/2+1))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// Reset makes the next pause the first again.
func (b *Backoff) Reset() { b.next = 0 }
