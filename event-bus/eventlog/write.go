package eventlog

import (
	"context"
	"fmt"
	"time"

	"miniblog/internal/event"
)

// Position is where an event is stored. Duplicate: its id was there before.
type Position struct {
	Sequence  event.Sequence
	Duplicate bool
}

// request is one call of Append on its way through the writer.
type request struct {
	lines     []event.Line
	keys      []event.Key // of the lines' ids
	size      int         // of the lines with their newlines, in bytes
	positions []Position
	err       error
	done      chan struct{}
}

// groupBytes is how many bytes of lines the writer takes at once, at least one
// request whatever its size.
const groupBytes = 4 << 20

// Append stores events as one, all or none, with sequences that follow one
// another but for duplicates: an id that is already stored keeps its first
// sequence. It blocks until they are durable. Its errors are ErrFull and
// ErrReadOnly, wrapped; after ctx's error the events may be stored or not, and
// what the lines point into must not be changed any more.
func (l *Log) Append(ctx context.Context, lines []event.Line) ([]Position, error) {
	if len(lines) == 0 {
		return nil, nil
	}
	r := &request{lines: lines, keys: make([]event.Key, len(lines)), done: make(chan struct{})}
	for i, line := range lines {
		if len(line.Text()) == 0 {
			return nil, fmt.Errorf("event %d of %d is no line", i+1, len(lines))
		}
		r.keys[i] = event.KeyOf(line.ID())
		r.size += len(line.Text()) + 1
	}
	if r.size > maxLines {
		return nil, fmt.Errorf("a batch of %d bytes is more than the log can hold as one; it takes %d", r.size, maxLines)
	}
	l.mu.Lock()
	if err := l.failed; err != nil {
		l.mu.Unlock()
		return nil, err
	}
	l.waiting = append(l.waiting, r)
	enough := l.pace.Enough(len(l.waiting))
	l.mu.Unlock()
	if enough {
		l.pace.Tell()
	}
	select {
	case <-r.done:
		return r.positions, r.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// write is the writer: it alone appends to the log. What waits is written as
// one batch and one sync, so that under load a sync serves many.
func (l *Log) write(ctx context.Context) {
	for {
		l.pace.Gather(ctx, &l.mu, func() (int, bool) { return len(l.waiting), false })
		if requests := l.takeRequests(); len(requests) > 0 {
			l.commit(requests)
			continue
		}
		select {
		case <-l.pace.Woken():
		case <-ctx.Done():
			l.settle()
			if l.failed == nil {
				l.activeLocked().trim() // so that a file at rest is its batches; if it fails, room does no harm
			}
			l.refuse(fmt.Errorf("%w: it is stopping", ErrReadOnly))
			return
		}
	}
}

// takeRequests takes the requests that wait, up to groupBytes.
func (l *Log) takeRequests() []*request {
	l.mu.Lock()
	defer l.mu.Unlock()
	n, size := 0, 0
	for _, r := range l.waiting {
		size += r.size
		if n > 0 && size > groupBytes {
			break
		}
		n++
	}
	requests := l.waiting[:n:n]
	l.waiting = l.waiting[n:]
	l.pace.Taken()
	if n > 1 || len(l.waiting) > 0 { // they came while the last batch was written
		l.busyUntil.Store(int64(time.Since(l.opened) + busyFor))
	}
	return requests
}

// refuse makes Append fail from now on, for those that wait, too.
func (l *Log) refuse(reason error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failed == nil {
		l.failed = reason
	}
	for _, r := range l.waiting {
		r.err = l.failed
		close(r.done)
	}
	l.waiting = nil
}

// group is the requests that are stored at once.
type group struct {
	requests []*request
	first    event.Sequence // what its first new event gets
	drafts   []*draft       // of new events; none if all were stored before
	err      error          // why they are not stored
}

// commit makes the events of some requests durable and answers. Of a large group
// it leaves the disk's part to a goroutine, so that the next one is drafted and
// encoded meanwhile; settle waits for that.
func (l *Log) commit(requests []*request) {
	if l.ids.full() {
		l.settle()
	}
	if l.unsettled == nil {
		l.ids.rotate()
	}
	g := l.prepare(requests)
	if !l.settle() { // its sequences were to follow those of a group that is not stored
		l.forget(g)
		g = l.prepare(requests)
	}
	l.unsettled = g
	if sizeOf(requests) > l.options.splitBytes {
		l.storing.Go(func() { l.finish(g) })
		return
	}
	l.finish(g)
	l.settle()
}

// settle waits until the last group is stored. It returns false, and forgets the
// group, if it could not be.
func (l *Log) settle() bool {
	l.storing.Wait()
	g := l.unsettled
	l.unsettled = nil
	if g == nil || g.err == nil {
		return true
	}
	l.forget(g)
	return false
}

// forget takes back the sequences and the ids of a group that is not stored.
func (l *Log) forget(g *group) {
	for _, r := range g.requests {
		l.ids.forget(r.keys, g.first)
	}
	l.given = min(l.given, g.first-1)
}

// prepare gives sequences to what some requests bring and encodes it.
func (l *Log) prepare(requests []*request) *group {
	g := &group{requests: requests, first: l.given + 1}
	for _, part := range split(requests, l.options.splitBytes) {
		if d := l.draft(part, l.given+1); d.count > 0 {
			g.drafts = append(g.drafts, d)
			l.given = d.last()
		}
	}
	encode(g.drafts)
	return g
}

// finish stores a group, which is the only one to be stored at the moment, and
// answers its requests.
func (l *Log) finish(g *group) {
	l.mu.Lock()
	g.err = l.failed
	crowd := max(l.pace.expected, len(g.requests)+len(l.waiting)) >= manyPublishers
	l.mu.Unlock()
	if g.err == nil && len(g.drafts) > 0 {
		g.err = l.store(g.drafts, crowd)
	}
	l.mu.Lock()
	if g.err == nil && len(g.drafts) > 0 {
		l.showLocked(g.drafts)
	}
	l.pace.Answered(len(g.requests), len(l.waiting))
	l.mu.Unlock()
	for _, r := range g.requests {
		r.err = g.err
		close(r.done)
	}
	if l.activeFull() {
		l.roll()
	}
}

// showLocked makes readers see batches that were stored.
func (l *Log) showLocked(drafts []*draft) {
	first := l.durable + 1
	for _, d := range drafts {
		l.activeLocked().add(d.batchHeader)
		l.recent.add(Batch{First: d.first, Count: int(d.count), Text: d.lines}, d.small)
		l.durable = d.last()
	}
	groupEvents.Observe(float64(l.durable + 1 - first))
	if !l.options.copied {
		l.synced.Store(uint64(l.durable))
	}
	close(l.moved)
	l.moved = make(chan struct{})
}
