package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"miniblog/event-bus/eventlog"
	"miniblog/internal/event"
)

const (
	// groupBytes is how many bytes of lines a message takes, at least one request.
	groupBytes = 768 << 10
	// answerWithin is how long Append waits for the stream.
	answerWithin = 4500 * time.Millisecond
	// attemptWithin is how long one attempt may take; an election takes longer.
	attemptWithin = time.Second
)

// request is one call of Append on its way. Without lines it is a barrier.
//
//   - answered is set once, under mu, by whoever answers it or gives it up.
type request struct {
	lines     []event.Line
	size      int
	deadline  time.Time
	done      chan struct{}
	mu        sync.Mutex
	answered  bool
	positions []eventlog.Position
	err       error
}

func (r *request) answer(positions []eventlog.Position, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.answered {
		r.answered, r.positions, r.err = true, positions, err
		close(r.done)
	}
}

func (r *request) isAnswered() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.answered
}

// Append stores events as one, all or none, as eventlog's does, and answers what
// applying them gave at every copy. It blocks until they are on a majority of
// the servers' disks and in this copy, 5 s at most, and a second more for each
// MiB: what is large is on its way for longer. Its errors are
// eventlog.ErrUnavailable, eventlog.ErrFull and eventlog.ErrReadOnly, wrapped.
func (l *Log) Append(ctx context.Context, lines []event.Line) ([]eventlog.Position, error) {
	if len(lines) == 0 {
		return nil, nil
	}
	return l.enqueue(ctx, lines, answerWithin)
}

// End returns the sequence of the newest event of the whole log, this copy's
// or not: it waits for a barrier, a message of its own, to come back from the
// stream. Its errors are those of Append.
func (l *Log) End(ctx context.Context) (event.Sequence, error) {
	return l.end(ctx, answerWithin)
}

// end is End for those who can wait for longer.
func (l *Log) end(ctx context.Context, within time.Duration) (event.Sequence, error) {
	_, err := l.enqueue(ctx, nil, within)
	return l.Last(), err
}

func (l *Log) enqueue(ctx context.Context, lines []event.Line, within time.Duration) ([]eventlog.Position, error) {
	r := &request{lines: lines, done: make(chan struct{})}
	for _, line := range lines {
		r.size += len(line.Text()) + 1
	}
	within += time.Duration(r.size>>20) * time.Second
	r.deadline = time.Now().Add(within)
	l.mu.Lock()
	if err := l.failed; err != nil {
		l.mu.Unlock()
		return nil, err
	}
	l.waiting = append(l.waiting, r)
	l.size += r.size
	enough, full := l.pace.Enough(len(l.waiting)), l.size >= groupBytes
	l.mu.Unlock()
	if enough {
		l.pace.Tell()
	}
	if full {
		select {
		case l.full <- struct{}{}:
		default: // it has been told
		}
	}
	timeout := time.NewTimer(within)
	defer timeout.Stop()
	select {
	case <-r.done:
	case <-timeout.C:
		r.answer(nil, eventlog.ErrUnavailable)
	case <-ctx.Done():
		r.answer(nil, ctx.Err())
	}
	return r.positions, r.err
}

// group is a message that was sent.
//
//   - It is answered once both acked and applied.
type group struct {
	nonce     string
	requests  []*request
	mu        sync.Mutex
	acked     bool
	applied   bool
	positions []eventlog.Position
	settled   chan struct{} // closed when it is answered
}

// ack and apply take note of the two things that a group waits for.
func (g *group) ack() { g.note(func() { g.acked = true }) }

func (g *group) apply(positions []eventlog.Position) {
	g.note(func() {
		if !g.applied { // a second attempt that is in the stream, too, gave duplicates
			g.applied, g.positions = true, positions
		}
	})
}

func (g *group) note(what func()) {
	g.mu.Lock()
	what()
	whole := g.acked && g.applied
	g.mu.Unlock()
	if whole {
		g.finish(nil)
	}
}

// finish answers the requests.
func (g *group) finish(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	select {
	case <-g.settled:
		return
	default:
	}
	close(g.settled)
	rest := g.positions
	for _, r := range g.requests {
		if err != nil {
			r.answer(nil, err)
			continue
		}
		r.answer(rest[:len(r.lines):len(r.lines)], nil)
		rest = rest[len(r.lines):]
	}
}

// take returns the requests that go as one message.
func (l *Log) take() []*request {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting = slices.DeleteFunc(l.waiting, (*request).isAnswered) // nobody waits for them any more
	n, size := 0, 0
	for _, r := range l.waiting {
		if size += r.size; n > 0 && size > groupBytes {
			break
		}
		n++
	}
	requests := slices.Clone(l.waiting[:n])
	l.waiting = slices.Delete(l.waiting, 0, n)
	l.pace.Taken()
	l.size = 0
	for _, r := range l.waiting {
		l.size += r.size
	}
	return requests
}

// publish sends a group until the stream has it or nobody waits for it any
// longer. It does not wait until this copy has applied it.
func (l *Log) publish(ctx context.Context, g *group) {
	l.mu.Lock()
	before, point, failed := l.current.Message, l.newestPointLocked(), l.failed
	l.pending[g.nonce] = g
	l.mu.Unlock()
	messages, err := encode(g.nonce, g.requests, l.name, point)
	if err = errors.Join(failed, err); err != nil {
		l.finish(g, err)
		return
	}
	ctx, cancel := context.WithDeadline(ctx, g.requests[len(g.requests)-1].deadline)
	stored, err := l.sendUntilStored(ctx, g, messages)
	if err == nil && stored <= before {
		err = stopf("the stream %s gave place %d to a new message, and this copy has applied %d: the stream was replaced by an older one", streamName, stored, before)
		l.fail(err)
	}
	if err != nil {
		l.finish(g, err)
		cancel()
		return
	}
	l.mu.Lock()
	l.stated = point
	l.mu.Unlock()
	g.ack()
	l.done.Go(func() { // ends at the deadline
		defer cancel()
		select {
		case <-g.settled:
		case <-ctx.Done():
		}
		l.finish(g, fmt.Errorf("%w: the message is stored, and has not come back", eventlog.ErrUnavailable))
	})
}

// finish forgets a group, and answers with err what is not answered yet.
func (l *Log) finish(g *group, err error) {
	l.mu.Lock()
	delete(l.pending, g.nonce)
	l.mu.Unlock()
	g.finish(err)
}

// sendUntilStored sends the messages of a group, again and again with the same
// names, until the stream has them. It returns the last one's place there.
func (l *Log) sendUntilStored(ctx context.Context, g *group, messages []*nats.Msg) (uint64, error) {
	for {
		stored, err := l.sendOnce(ctx, messages)
		if err == nil || errors.Is(err, eventlog.ErrFull) {
			return stored, err
		}
		l.config.Logger.Debug("a message is sent again", "nonce", g.nonce, "error", err)
		select {
		case <-g.settled: // this copy has failed
		case <-time.After(100 * time.Millisecond):
			continue
		case <-ctx.Done():
		}
		return 0, fmt.Errorf("%w: %w", eventlog.ErrUnavailable, err)
	}
}

// pubAck is JetStream's answer to a message.
type pubAck struct {
	Sequence  uint64              `json:"seq"`
	Duplicate bool                `json:"duplicate"`
	Error     *jetstream.APIError `json:"error"`
}

// sendOnce sends the parts of a message and returns its place in the stream. An
// error other than ErrFull leaves open whether it is there.
func (l *Log) sendOnce(ctx context.Context, messages []*nats.Msg) (uint64, error) {
	if len(messages) == 1 { // several take their time
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, attemptWithin)
		defer cancel()
	}
	for _, m := range messages[:len(messages)-1] { // the answer to the last one speaks for all
		if err := l.conn.PublishMsg(m); err != nil {
			return 0, err
		}
	}
	answer, err := l.conn.RequestMsgWithContext(ctx, messages[len(messages)-1])
	if err != nil {
		return 0, err
	}
	var ack pubAck
	if err := json.Unmarshal(answer.Data, &ack); err != nil {
		return 0, fmt.Errorf("the stream's answer cannot be read: %w", err)
	}
	switch {
	case ack.Error == nil:
		return ack.Sequence, nil
	case isDuplicate(ack.Error): // an attempt before this one has stored it
		return ^uint64(0), nil
	case isFull(ack.Error):
		return 0, fmt.Errorf("%w: the stream %s: %w", eventlog.ErrFull, streamName, ack.Error)
	}
	return 0, ack.Error
}

// JetStream's errors that say more than that it did not work.
const (
	accountFull     = 10002
	serverFull      = 10023
	storageFull     = 10047
	storeFailed     = 10077 // "maximum bytes exceeded"
	batchDuplicates = 10201
)

func isFull(err *jetstream.APIError) bool {
	switch int(err.ErrorCode) {
	case accountFull, serverFull, storageFull:
		return true
	case storeFailed:
		return err.Description == "maximum bytes exceeded"
	}
	return false
}

func isDuplicate(err *jetstream.APIError) bool { return int(err.ErrorCode) == batchDuplicates }
