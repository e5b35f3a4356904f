package bus

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"time"

	"github.com/klauspost/compress/zstd"

	"miniblog/internal/event"
	"miniblog/internal/wire"
)

// What Fetch hands over and takes in at most.
const (
	firstChunk  = 4 << 10   // bytes of the first slice: live traffic is a few events an answer
	chunkBytes  = 512 << 10 // bytes of a later slice: history is many
	slicesAhead = 4         // slices that are decoded while the reader works on one
	longestLine = 16 << 20  // bytes of an event
	maxWindow   = 8 << 20   // bytes of a zstd window
)

// Page is what a bus holds beyond some sequence. It must be closed.
type Page struct {
	// Log identifies the log; it is empty if the bus is simpler than ours: then
	// the page is everything that bus has ever seen, in its order.
	Log string
	// Last is the last sequence of the log when the bus answered.
	Last event.Sequence

	from   Checkpoint
	body   io.Reader
	read   func(done <-chan slice, hand func(slice) bool) error // what body holds: readLines, or readArray
	alive  *time.Timer                                          // cancels the request when the body stalls
	cancel context.CancelFunc
	close  func()
}

// Checkpoint is how far a reader is, and the id of the event there, "" if it is
// not known: by that the bus finds out whether both know one history.
type Checkpoint struct {
	Sequence event.Sequence
	ID       string
}

func (from Checkpoint) query() url.Values {
	query := url.Values{wire.After: {from.Sequence.String()}}
	if from.Sequence > 0 && from.ID != "" {
		query.Set(wire.AfterID, from.ID)
	}
	return query
}

// ErrOtherHistory says that the bus does not hold the event at a checkpoint: it
// has another there, or ends before it. The reader must start again from 0.
var ErrOtherHistory = errors.New("the event bus holds another history")

// Fetch asks for the events after a checkpoint; with nothing to send, the bus
// waits that long for something.
func (c *Client) Fetch(ctx context.Context, from Checkpoint, wait time.Duration) (*Page, error) {
	ctx, cancel := context.WithCancel(ctx)
	alive := time.AfterFunc(wait+c.stall, cancel)
	page := &Page{from: from, alive: alive, cancel: cancel, close: func() {}}
	err := page.open(ctx, c, wait)
	if err != nil {
		stalled := !alive.Stop()
		page.Close()
		if stalled && ctx.Err() != nil {
			err = fmt.Errorf("the event bus did not answer within %v: %w", wait+c.stall, err)
		}
		return nil, err
	}
	return page, nil
}

func (p *Page) open(ctx context.Context, c *Client, wait time.Duration) error {
	query := p.from.query()
	if wait > 0 {
		query.Set(wire.Wait, wait.String())
	}
	resp, err := c.get(ctx, query, "zstd")
	if err != nil {
		return err
	}
	p.close = func() { resp.Body.Close() }
	p.body = &watched{resp.Body, p.alive, c.stall}
	if p.Log = resp.Header.Get(wire.LogHeader); p.Log == "" {
		p.read = p.readArray
		return nil
	}
	p.read = p.readLines
	if p.Last, err = event.ParseSequence(resp.Header.Get(wire.LastHeader)); err != nil {
		return fmt.Errorf("header %s: %w", wire.LastHeader, err)
	}
	switch encoding := resp.Header.Get("Content-Encoding"); encoding {
	case "", "identity":
	case "zstd":
		d := c.zstd.Get().(*zstd.Decoder)
		p.close = func() { d.Reset(nil); c.zstd.Put(d); resp.Body.Close() }
		if err := d.Reset(p.body); err != nil {
			return err
		}
		p.body = d
	default:
		return fmt.Errorf("the event bus answered in the encoding %q, which was not asked for", encoding)
	}
	return nil
}

// get asks for events; an answer other than 200 is an error.
func (c *Client) get(ctx context.Context, query url.Values, encoding string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+"/events?"+query.Encode(), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", c.agent)
	req.Header.Set("Accept", wire.Lines)
	req.Header.Set("Accept-Encoding", encoding)
	resp, err := c.http.Do(req)
	if err != nil || resp.StatusCode == http.StatusOK {
		return resp, err
	}
	defer resp.Body.Close()
	err = refusal(resp)
	if resp.StatusCode == http.StatusConflict {
		err = fmt.Errorf("%w: %w", ErrOtherHistory, err)
	}
	return nil, err
}

// Close ends the request.
func (p *Page) Close() {
	p.alive.Stop()
	p.cancel()
	p.close()
}

// watched puts the stall timer off with every byte.
type watched struct {
	io.Reader
	alive *time.Timer
	stall time.Duration
}

func (w *watched) Read(b []byte) (int, error) {
	n, err := w.Reader.Read(b)
	w.alive.Reset(w.stall)
	return n, err
}

// slice is some events, and the memory that their data lies in.
type slice struct {
	events []event.Event
	chunk  []byte
}

// Events returns the page's events in slices, in order and without a gap; an
// error ends it. It can be called once. The next slices are decoded while the
// caller works on one, into the memory of those that it is done with: a slice
// and its events' Data are the caller's until it asks for the next one.
func (p *Page) Events() iter.Seq2[[]event.Event, error] {
	return func(yield func([]event.Event, error) bool) {
		type result struct {
			slice
			err error
		}
		results := make(chan result, slicesAhead)
		done := make(chan slice, slicesAhead+2) // one more is decoded, one worked on
		stop := make(chan struct{})
		go func() {
			defer close(results)
			err := p.read(done, func(s slice) bool {
				select {
				case results <- result{slice: s}:
					return true
				case <-stop:
					return false
				}
			})
			if err != nil {
				select {
				case results <- result{err: err}:
				case <-stop:
				}
			}
		}()
		defer func() { // the reader ends before we do
			close(stop)
			p.cancel()
			for range results {
			}
		}()
		for r := range results {
			if !yield(r.events, r.err) || r.err != nil {
				return
			}
			select {
			case done <- r.slice:
			default: // readArray takes none back
			}
		}
	}
}

// readLines decodes NDJSON, a chunk of memory to a slice.
func (p *Page) readLines(done <-chan slice, hand func(slice) bool) error {
	var rest []byte // an unfinished line, at the end of the last chunk
	next := p.from.Sequence + 1
	for size := firstChunk; ; size = min(4*size, chunkBytes) {
		var s slice
		select {
		case s = <-done:
		default:
		}
		if need := max(size, 2*len(rest)); len(s.chunk) < need {
			s.chunk = make([]byte, need)
		}
		n, err := fill(p.body, s.chunk, copy(s.chunk, rest))
		lines := s.chunk[:n]
		s.events = s.events[:0]
		for {
			end := bytes.IndexByte(lines, '\n')
			if end < 0 {
				break
			}
			e, err := event.ParseLine(lines[:end])
			if err != nil {
				return fmt.Errorf("event %d of the log does not decode: %w", next, err)
			}
			if e.Sequence != next {
				return fmt.Errorf("the event bus sent event %d where %d comes next", e.Sequence, next)
			}
			s.events, lines, next = append(s.events, e), lines[end+1:], next+1
		}
		rest = lines
		end := err == io.EOF
		switch {
		case err != nil && !end:
			return fmt.Errorf("reading events after %d: %w", next-1, err)
		case len(rest) > longestLine:
			return fmt.Errorf("event %d of the log is longer than %d bytes", next, longestLine)
		case end && len(rest) > 0:
			return fmt.Errorf("the answer of the event bus ends in the middle of event %d", next)
		}
		if len(s.events) > 0 && !hand(s) || end {
			return nil
		}
	}
}

// fill reads into b from n on until it is full or the reader fails; io.EOF is
// the reader's own, of an answer that is whole.
func fill(r io.Reader, b []byte, n int) (int, error) {
	for n < len(b) {
		m, err := r.Read(b[n:])
		if n += m; err != nil {
			return n, err
		}
	}
	return n, nil
}
