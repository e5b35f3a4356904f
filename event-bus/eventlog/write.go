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
	keys      []idKey // of the lines' ids
	size      int     // of the lines with their newlines, in bytes
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
	r := &request{lines: lines, keys: make([]idKey, len(lines)), done: make(chan struct{})}
	for i, line := range lines {
		if len(line.Text()) == 0 {
			return nil, fmt.Errorf("event %d of %d is no line", i+1, len(lines))
		}
		r.keys[i] = keyOf(line.ID())
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
		group := l.takeGroup()
		if len(group) == 0 {
			select {
			case <-l.pace.Woken():
				continue
			case <-ctx.Done():
				if l.failed == nil {
					l.activeLocked().trim() // so that a file at rest is its batches; if it fails, room does no harm
				}
				l.refuse(fmt.Errorf("%w: it is stopping", ErrReadOnly))
				return
			}
		}
		err := l.commit(group)
		l.mu.Lock()
		l.pace.Answered(len(group), len(l.waiting))
		l.mu.Unlock()
		for _, r := range group {
			r.err = err
			close(r.done)
		}
		if l.activeFull() {
			l.roll()
		}
	}
}

// takeGroup takes the requests that wait, up to groupBytes.
func (l *Log) takeGroup() []*request {
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
	group := l.waiting[:n:n]
	l.waiting = l.waiting[n:]
	l.pace.Taken()
	if n > 1 || len(l.waiting) > 0 { // they came while the last batch was written
		l.busyUntil.Store(int64(time.Since(l.opened) + busyFor))
	}
	return group
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

// commit gives sequences to a group of requests and makes their events durable.
func (l *Log) commit(group []*request) error {
	if l.failed != nil { // only the writer sets it
		return l.failed
	}
	first := l.durable + 1 // only the writer moves it
	var drafts []*draft
	l.ids.rotate()
	next := first
	for _, part := range split(group, l.options.splitBytes) {
		if d := l.draft(part, next, event.Sequence(l.synced.Load())); d.count > 0 {
			drafts = append(drafts, d)
			next = d.last() + 1
		}
	}
	if len(drafts) == 0 {
		return nil
	}
	if err := l.store(drafts); err != nil {
		for _, r := range group {
			l.ids.forget(r.keys, first)
		}
		return err
	}
	groupEvents.Observe(float64(next - first))
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, d := range drafts {
		l.activeLocked().add(d.batchHeader)
		l.recent.add(Batch{First: d.first, Count: int(d.count), Text: d.lines}, d.small)
		l.durable = d.last()
	}
	if !l.options.copied {
		l.synced.Store(uint64(l.durable))
	}
	close(l.moved)
	l.moved = make(chan struct{})
	return nil
}
