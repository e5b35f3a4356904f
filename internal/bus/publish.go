package bus

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/go-json-experiment/json"

	"miniblog/internal/event"
	"miniblog/internal/fault"
	"miniblog/internal/trace"
	"miniblog/internal/wire"
)

// How long a publication is tried: no attempt begins later than publishBudget
// after Publish was called, and Publish returns within answerLimit, however many
// wait. Together with the rest of a command that is under 5 s.
const (
	publishBudget   = 3500 * time.Millisecond
	answerLimit     = 4 * time.Second
	longestAttempt  = 2 * time.Second
	shortestAttempt = 500 * time.Millisecond
)

// What one batch may hold at most; the bus takes 16 MiB.
const (
	batchEvents = 256
	batchBytes  = 4 << 20
)

// maxAnswer bounds what is read of the bus's answer to a publication, in bytes.
const maxAnswer = 1 << 20

// Receipt is the bus's word that an event is on its disk.
type Receipt struct {
	Sequence  event.Sequence // zero if the bus is simpler than ours and keeps no order
	Duplicate bool           // the id was stored before; Sequence is the first one's
}

// Publish returns when the bus has e on disk. It tries again, with the same
// id, for about 3.5 s. Its errors are faults: Unavailable if the bus cannot be
// reached or cannot write, and then the event may still have been stored;
// Refused if it refuses the event. A deadline of ctx shortens the time: past it, the
// error is Unavailable, too. When ctx is canceled, the event may be published
// nevertheless.
//
// Events that are published while others are on their way wait for those and
// then go together, in one batch: one request and one write to disk for all.
func (c *Client) Publish(ctx context.Context, e event.Event) (Receipt, error) {
	ctx, e, span := trace.Publish(ctx, c.base, e)
	receipt, err := c.publish(ctx, e, span)
	span.Stored(receipt.Sequence, err)
	return receipt, err
}

func (c *Client) publish(ctx context.Context, e event.Event, span *trace.Span) (Receipt, error) {
	e.Sequence = 0
	line, err := event.NewLine(&e) // which our bus takes as it is
	if err != nil {
		return Receipt{}, fmt.Errorf("encoding event %s: %w", e.ID, err)
	}
	p := &publication{body: line.Text(), deadline: time.Now().Add(publishBudget), done: make(chan struct{}), span: span}
	if due, limited := ctx.Deadline(); limited && due.Before(p.deadline) {
		p.deadline = due
	}
	if c.outbox.add(p) {
		go c.send(context.WithoutCancel(ctx))
	}
	late := time.NewTimer(answerLimit)
	defer late.Stop()
	select {
	case <-p.done:
		return p.receipt, p.err
	case <-late.C:
		return Receipt{}, c.outbox.giveUp(p)
	case <-ctx.Done():
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return Receipt{}, c.outbox.giveUp(p)
		}
		return Receipt{}, ctx.Err()
	}
}

// publication is an event on its way. The sender owns it until done is closed.
type publication struct {
	body     []byte
	deadline time.Time
	span     *trace.Span // nil unless traces are recorded
	receipt  Receipt
	err      error
	done     chan struct{}
}

func (p *publication) finish(err error) {
	p.err = err
	close(p.done)
}

// outbox holds the publications that wait, oldest first.
//
//   - sending is true exactly while a goroutine runs send.
//   - most is how many go in one request: 1 until the bus has shown that it takes
//     batches (simple.go), and after it has refused one.
type outbox struct {
	mu      sync.Mutex
	waiting []*publication
	sending bool
	most    int
	trouble error // why the last attempt failed
}

// giveUp takes p out, if it still waits, and returns the fault that says so.
func (o *outbox) giveUp(p *publication) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if i := slices.Index(o.waiting, p); i >= 0 {
		o.waiting = slices.Delete(o.waiting, i, i+1)
	}
	return unavailable(o.trouble)
}

// add queues p and tells whether the caller must start the sender.
func (o *outbox) add(p *publication) (start bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.waiting = append(o.waiting, p)
	start, o.sending = !o.sending, true
	return start
}

// take returns what to send next; when nothing waits, the sender has to stop.
func (o *outbox) take() []*publication {
	o.mu.Lock()
	defer o.mu.Unlock()
	n, size := 0, 0
	for n < len(o.waiting) && n < o.most && (n == 0 || size+len(o.waiting[n].body) <= batchBytes) {
		size += len(o.waiting[n].body)
		n++
	}
	o.sending = n > 0
	taken := o.waiting[:n:n]
	o.waiting = o.waiting[n:]
	return taken
}

// putBack queues publications before all others, because of cause.
func (o *outbox) putBack(ps []*publication, cause error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.trouble = cause
	o.waiting = append(ps, o.waiting...)
}

func (o *outbox) setMost(n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.most = n
}

// send publishes until nothing waits any more, one request at a time. It runs
// for those who wait in Publish, and no longer than their deadlines.
func (c *Client) send(ctx context.Context) {
	pause := Backoff{First: 20 * time.Millisecond, Most: 400 * time.Millisecond}
	for batch := c.outbox.take(); len(batch) > 0; batch = c.outbox.take() {
		err := c.attempt(ctx, batch)
		var refused *statusError
		switch {
		case err == nil:
			pause.Reset()
		case errors.As(err, &refused) && refused.final() && len(batch) == 1:
			detail := fmt.Sprintf("The event bus refused the event with %d: %s", refused.status, refused.detail)
			batch[0].finish(&fault.Fault{Kind: fault.Refused, Detail: detail, Cause: err})
		case errors.As(err, &refused) && refused.final(), errors.Is(err, errNoBatches):
			c.outbox.setMost(1) // one by one, so that each gets its own answer
			c.outbox.putBack(batch, err)
		default:
			c.outbox.putBack(expire(batch, err), err)
			pause.Wait(ctx)
		}
	}
}

// expire answers the publications that were tried long enough and returns the
// others.
func expire(batch []*publication, cause error) []*publication {
	now := time.Now()
	var left []*publication
	for _, p := range batch {
		if now.Before(p.deadline) {
			left = append(left, p)
			continue
		}
		p.finish(unavailable(cause))
	}
	return left
}

func unavailable(cause error) error {
	why := "cannot be reached"
	var refused *statusError
	if errors.As(cause, &refused) {
		why = fmt.Sprintf("answers %d (%s)", refused.status, refused.detail)
	}
	return &fault.Fault{Kind: fault.Unavailable, Cause: cause, Detail: fmt.Sprintf(
		"The event bus %s, so this may not have been saved. Try again in a moment; with the same Idempotency-Key it is done once.", why)}
}

// attempt sends batch in one request. On success its publications are
// finished; on an error all of them are still to be done.
func (c *Client) attempt(ctx context.Context, batch []*publication) error {
	left := time.Until(batch[0].deadline)
	ctx, cancel := context.WithTimeout(ctx, min(max(left, shortestAttempt), longestAttempt))
	defer cancel()
	ctx, span := c.traceRequest(ctx, batch)
	err := c.sendBatch(ctx, batch)
	span.End(err)
	return err
}

// traceRequest starts the span of the request that carries batch.
func (c *Client) traceRequest(ctx context.Context, batch []*publication) (context.Context, *trace.Span) {
	if !trace.On() {
		return ctx, nil
	}
	spans := make([]*trace.Span, len(batch))
	for i, p := range batch {
		spans[i] = p.span
	}
	return trace.Request(ctx, http.MethodPost, c.base+"/events", spans)
}

func (c *Client) sendBatch(ctx context.Context, batch []*publication) error {
	if len(batch) == 1 {
		return c.attemptOne(ctx, batch[0])
	}
	body := []byte{'['}
	for i, p := range batch {
		if i > 0 {
			body = append(body, ',')
		}
		body = append(body, p.body...)
	}
	var answer wire.BatchReceipt
	if err := c.post(ctx, wire.Batch, append(body, ']'), &answer); err != nil {
		return err
	}
	news := answer.First > 0 && answer.Last == answer.First+event.Sequence(len(batch)-1)
	each := len(answer.Sequences) == len(batch) && len(answer.Duplicates) == len(batch)
	if !news && !each {
		return errNoBatches
	}
	for i, p := range batch {
		if each {
			p.receipt.Sequence, p.receipt.Duplicate = answer.Sequences[i], answer.Duplicates[i]
		} else {
			p.receipt.Sequence = answer.First + event.Sequence(i)
		}
		p.finish(nil)
	}
	return nil
}

func (c *Client) attemptOne(ctx context.Context, p *publication) error {
	var answer wire.Receipt
	if err := c.post(ctx, wire.JSON, p.body, &answer); err != nil {
		return err
	}
	p.receipt.Sequence, p.receipt.Duplicate = answer.Sequence, answer.Duplicate
	c.outbox.setMost(mostAfter(answer))
	p.finish(nil)
	return nil
}

// post sends body and decodes the answer; a 2xx that is no receipt, as a simple
// bus gives it, leaves answer as it was.
func (c *Client) post(ctx context.Context, contentType string, body []byte, answer any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+"/events", bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("User-Agent", c.agent)
	req.Header.Set("Content-Type", contentType)
	trace.Inject(ctx, req.Header)
	resp, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		return refusal(resp)
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("reading the event bus's answer: %w", err)
	}
	_ = json.Unmarshal(text, answer)
	return nil
}
