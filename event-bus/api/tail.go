package api

import (
	"bytes"
	"context"
	"slices"
	"sync"

	"miniblog/event-bus/eventlog"
	"miniblog/internal/event"
	"miniblog/internal/wire"
)

// tail is the newest part of the log in memory. Each batch is looked at once, for
// all who follow: which types it holds, and where. A batch without a type that
// somebody wants wakes nobody.
//
//   - batches lie one behind the other: the first begins after start, the last
//     ends at end.
//   - one goroutine reads the log exactly while there are readers.
type tail struct {
	log Log

	mu      sync.Mutex
	readers map[*tailReader]struct{}
	batches []indexed
	bytes   int // of their lines
	start   event.Sequence
	end     event.Sequence
	stop    context.CancelFunc // of the goroutine
}

// tailBytes bounds the lines that a tail holds. They are the log's own copy of
// its newest ones, for as long as that is as large.
const tailBytes = 4 << 20

// indexed is a batch, in runs of lines of one type.
type indexed struct {
	eventlog.Batch
	runs  []run
	types [][]byte // each once; nil if there are more than mostTypes

	lastID string // of the last event
}

// run is some lines of one type that follow one another. It ends at end in the
// text of its batch.
type run struct {
	typ []byte
	end int
}

// mostTypes is how many types of a batch are held against what readers want;
// more of them wake everybody.
const mostTypes = 16

// index finds the runs of b.
func index(b eventlog.Batch) indexed {
	x := indexed{Batch: b}
	at, lastLine := 0, []byte(nil)
	for text := range b.Lines() {
		typ := event.TypeOf(text)
		at += len(text) + 1
		if n := len(x.runs); n > 0 && bytes.Equal(x.runs[n-1].typ, typ) {
			x.runs[n-1].end = at
		} else {
			x.runs = append(x.runs, run{typ, at})
			if len(x.types) <= mostTypes && !slices.ContainsFunc(x.types, func(t []byte) bool { return bytes.Equal(t, typ) }) {
				x.types = append(x.types, typ)
			}
		}
		lastLine = text
	}
	line, _ := event.ReadLine(lastLine)
	x.lastID = string(line.ID())
	if len(x.types) > mostTypes {
		x.types = nil
	}
	return x
}

// tailReader is one who follows. The tail's mutex guards where it is.
type tailReader struct {
	types map[string]bool // wanted; empty: all
	wake  chan struct{}   // holds one: there is something to take

	passed event.Sequence // everything up to here was taken or is not wanted
	id     string         // of the event there; "" where the reader began
	offset int            // how much of the batch behind passed was looked at, in bytes
}

// passTo moves the reader to the end of x.
func (r *tailReader) passTo(x *indexed) {
	r.passed, r.id, r.offset = x.Last(), x.lastID, 0
}

func (r *tailReader) wants(typ []byte) bool { return len(r.types) == 0 || r.types[string(typ)] }

func (r *tailReader) wantsAny(x *indexed) bool {
	return x.types == nil || slices.ContainsFunc(x.types, r.wants)
}

func newTail(log Log) *tail { return &tail{log: log, readers: map[*tailReader]struct{}{}} }

// add makes a reader of the given types that starts after a sequence. It must be
// removed.
func (t *tail) add(types map[string]bool, after event.Sequence) *tailReader {
	r := &tailReader{types: types, passed: after, wake: make(chan struct{}, 1)}
	r.wake <- struct{}{} // there may be something already
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.readers) == 0 {
		ctx, stop := context.WithCancel(context.Background())
		t.start, t.end, t.stop = after, after, stop
		go t.run(ctx, after) // ends with the last reader
	}
	t.readers[r] = struct{}{}
	return r
}

func (t *tail) remove(r *tailReader) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.readers, r)
	if len(t.readers) == 0 {
		t.stop()
		t.batches, t.bytes = nil, 0
	}
}

// run reads the log after a sequence until ctx ends. Whoever begins before what the
// log has in memory has to fetch that.
func (t *tail) run(ctx context.Context, after event.Sequence) {
	for begins := true; ctx.Err() == nil; begins = false {
		last := t.log.Last()
		switch b := t.log.Recent(after); {
		case b.Count > 0:
			after = b.Last()
			t.append(ctx, index(b))
		case last > after && (begins || last-after > mostBehind):
			after = last
			t.skip(ctx, after)
		case last > after:
			after = t.catchUp(ctx, after, last)
		default:
			select {
			case <-t.log.Beyond(after):
			case <-ctx.Done():
			}
		}
	}
}

// mostBehind is how many events that the log has forgotten are read again.
const mostBehind = 100_000

// catchUp reads from disk what came while others had the processors, and returns how
// far it came. Otherwise each follower would have to fetch it, also one that wants
// nothing of it. What is larger than a tail may be, all have to fetch.
func (t *tail) catchUp(ctx context.Context, after, last event.Sequence) event.Sequence {
	r := t.log.Reader(after)
	defer r.Close()
	b, err := r.Next()
	if err != nil || b.Count == 0 || len(b.Text) > tailBytes { // who fetches is told of the error
		t.skip(ctx, last)
		return last
	}
	b.Text = bytes.Clone(b.Text) // it is the reader's
	t.append(ctx, index(b))
	return b.Last()
}

// append adds a batch and wakes those who want some of it.
func (t *tail) append(ctx context.Context, x indexed) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if ctx.Err() != nil { // another goroutine may run by now
		return
	}
	t.batches = append(t.batches, x)
	t.bytes += len(x.Text)
	t.end = x.Last()
	drop := 0
	for ; t.bytes > tailBytes && drop < len(t.batches)-1; drop++ {
		t.bytes -= len(t.batches[drop].Text)
		t.start = t.batches[drop].Last()
		t.batches[drop] = indexed{} // the array outlives it, until the next append that needs a larger one
	}
	t.batches = t.batches[drop:]
	for r := range t.readers {
		switch {
		case r.wantsAny(&x):
			r.notify()
		case r.passed+1 >= x.First && r.passed < x.Last() && r.offset == 0: // it has nothing to take
			r.passTo(&x)
		}
	}
}

// skip forgets everything up to a sequence, and wakes the readers, which are all
// behind it.
func (t *tail) skip(ctx context.Context, to event.Sequence) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if ctx.Err() != nil {
		return
	}
	t.batches, t.bytes, t.start, t.end = nil, 0, to, to
	for r := range t.readers {
		r.notify()
	}
}

func (r *tailReader) notify() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// take fills text, up to its capacity, with lines that the reader wants, and
// moves it past what was looked at. It leaves off within a line only where that is
// longer. ok is false if what comes next is not in memory any more.
func (t *tail) take(r *tailReader, text []byte) (_ []byte, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if r.passed < t.start {
		return text, false
	}
	for i := t.findLocked(r.passed + 1); i < len(t.batches); i++ {
		x := &t.batches[i]
		if r.offset == 0 && r.passed >= x.First { // it began within this batch
			r.offset = len(x.Text) - len(x.After(r.passed).Text)
		}
		from := 0
		for _, run := range x.runs {
			if lines := x.Text[max(from, r.offset):max(run.end, r.offset)]; len(lines) > 0 && r.wants(run.typ) {
				n := fit(lines, cap(text)-len(text), len(text) == 0)
				text = append(text, lines[:n]...)
				if n < len(lines) {
					r.offset = max(from, r.offset) + n
					return text, true
				}
			}
			from = run.end
		}
		r.passTo(x)
	}
	return text, true
}

// fit returns how many bytes of lines to take into the given room: whole lines,
// unless not even one fits into all there is.
func fit(lines []byte, room int, empty bool) int {
	if len(lines) <= room {
		return len(lines)
	}
	if n := bytes.LastIndexByte(lines[:room], '\n') + 1; n > 0 || !empty {
		return n
	}
	return room
}

// findLocked returns the index of the batch that holds a sequence, which is
// after start.
func (t *tail) findLocked(sequence event.Sequence) int {
	i, _ := slices.BinarySearchFunc(t.batches, sequence, func(x indexed, sequence event.Sequence) int {
		if x.Last() < sequence {
			return -1
		}
		return 1
	})
	return i
}

// passed returns how far a reader is, if it is not within a batch: ok.
func (t *tail) passed(r *tailReader) (mark wire.Mark, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return wire.Mark{Passed: r.passed, ID: r.id}, r.offset == 0
}
