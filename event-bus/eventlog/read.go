package eventlog

import (
	"bytes"
	"iter"
	"math"
	"sort"

	"miniblog/internal/event"
)

// Batch is a run of events as lines: Text holds Count of them, each with its
// newline, the first with sequence First. Nobody may write to Text.
type Batch struct {
	First event.Sequence
	Count int
	Text  []byte
}

// Last returns the sequence of the newest event in b.
func (b Batch) Last() event.Sequence { return b.First + event.Sequence(b.Count) - 1 }

// Lines iterates over the events, without their newlines.
func (b Batch) Lines() iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for text := b.Text; len(text) > 0; {
			end := bytes.IndexByte(text, '\n')
			if end < 0 || !yield(text[:end]) {
				return
			}
			text = text[end+1:]
		}
	}
}

// After returns b without the events up to the sequence.
func (b Batch) After(sequence event.Sequence) Batch {
	for b.Count > 0 && b.First <= sequence {
		b.Text = b.Text[bytes.IndexByte(b.Text, '\n')+1:]
		b.First++
		b.Count--
	}
	return b
}

// Until returns b without the events after the sequence.
func (b Batch) Until(sequence event.Sequence) Batch {
	if b.Last() <= sequence {
		return b
	}
	keep, end := int(sequence+1-b.First), 0
	for range keep {
		end += bytes.IndexByte(b.Text[end:], '\n') + 1
	}
	return Batch{b.First, keep, b.Text[:end]}
}

// Reserve waits until whoever reads may hold that many bytes, in all. Its error
// is the reading's.
type Reserve func(bytes int) error

// Reader reads a log in order. It belongs to one goroutine.
type Reader struct {
	Reserve Reserve // is asked before a batch is decoded; may be nil

	log   *Log
	next  event.Sequence
	last  event.Sequence // of what is wanted
	lines *[]byte        // from lineBuffers, holds the decoded lines of the last batch
}

// Reader returns a reader that starts after the given sequence.
func (l *Log) Reader(after event.Sequence) *Reader {
	return &Reader{log: l, next: after + 1, last: math.MaxUint64}
}

// Want says how many more events are wanted, so that no others need be decoded.
func (r *Reader) Want(n uint64) {
	r.last = r.next - 1 + min(event.Sequence(n), math.MaxUint64-r.next)
}

// Next returns what comes next, as much as is stored together; Count is 0 at
// the end of what is durable, where Log.Beyond tells of more. The batch is valid
// until the next call. It does not block, but for the disk. Its error is a
// *Damage: the reader must not go on as if nothing were missing.
func (r *Reader) Next() (_ Batch, err error) {
	b, s, e := r.log.locate(r.next)
	if s != nil {
		if r.lines == nil {
			r.lines = lineBuffers.Get().(*[]byte)
		}
		if b, err = s.readFrom(e, r.next, max(r.next, r.last), *r.lines, r.Reserve); err != nil {
			return Batch{}, err
		}
		*r.lines = b.Text[:0]
	}
	b = b.After(r.next - 1)
	r.next += event.Sequence(b.Count)
	return b, nil
}

// Recent returns the events after the given one that are stored together, if
// they are still in memory: Count is 0 if not, or if there are none. Unlike those
// of a Reader, the batch stays valid.
func (l *Log) Recent(after event.Sequence) Batch {
	l.mu.Lock()
	defer l.mu.Unlock()
	b, _ := l.recent.find(after + 1)
	return b.After(after)
}

// Close returns the reader's buffer to the pool; the last batch must not be used
// any more.
func (r *Reader) Close() {
	if r.lines != nil {
		lineBuffers.Put(r.lines)
		r.lines = nil
	}
}

// Held returns how many bytes the reader's buffer has.
func (r *Reader) Held() int {
	if r.lines == nil {
		return 0
	}
	return cap(*r.lines)
}

// locate finds the batch that holds the sequence: in memory, or else in a
// segment. There is neither when the event is not durable yet.
func (l *Log) locate(sequence event.Sequence) (b Batch, s *segment, e entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if sequence > l.durable || sequence == 0 { // 0 comes after the last sequence there can be
		return b, nil, e
	}
	if b, ok := l.recent.find(sequence); ok {
		return b, nil, e
	}
	s = l.segmentLocked(sequence)
	return b, s, s.entries[find(s.entries, sequence)]
}

// segmentLocked returns the segment that holds the sequence, which is durable.
func (l *Log) segmentLocked(sequence event.Sequence) *segment {
	i := len(l.segments) - 1
	for l.segments[i].first > sequence { // most readers are at the end
		i--
	}
	return l.segments[i]
}

// recent keeps the newest batches in memory: those who follow the log read
// them from here, all from the same bytes.
type recent struct {
	batches []Batch
	frames  [][]byte // of each batch as it is on disk, nil for a large one
	bytes   int      // of lines
}

// recentBytes bounds the lines in memory.
const recentBytes = 4 << 20

func (r *recent) add(b Batch, frame []byte) {
	r.batches = append(r.batches, b)
	r.frames = append(r.frames, frame)
	r.bytes += len(b.Text)
	drop := 0
	for r.bytes > recentBytes {
		r.bytes -= len(r.batches[drop].Text)
		r.batches[drop], r.frames[drop] = Batch{}, nil
		drop++
	}
	r.batches, r.frames = r.batches[drop:], r.frames[drop:]
}

func (r *recent) find(sequence event.Sequence) (Batch, bool) {
	i, ok := r.index(sequence)
	if !ok {
		return Batch{}, false
	}
	return r.batches[i], true
}

// index returns which of the batches holds sequence.
func (r *recent) index(sequence event.Sequence) (i int, ok bool) {
	i = sort.Search(len(r.batches), func(i int) bool { return r.batches[i].Last() >= sequence })
	return i, i < len(r.batches) && r.batches[i].First <= sequence
}

// smallFrames bounds what is sent from memory, in bytes: more than that is sent
// from the file, without a copy.
const smallFrames = 64 << 10

// encoded returns the frames of the events from first to last, nil if they do not
// begin and end with batches, or are not small. Nobody may write to them.
func (r *recent) encoded(first, last event.Sequence) (frames []byte) {
	i, ok := r.index(first)
	if !ok || r.batches[i].First != first {
		return nil
	}
	for ; i < len(r.batches) && r.batches[i].Last() <= last; i++ {
		frame := r.frames[i]
		if frame == nil || len(frames)+len(frame) > smallFrames {
			return nil
		}
		if frames == nil {
			frames = frame[:len(frame):len(frame)] // most often the only one
		} else {
			frames = append(frames, frame...)
		}
		if r.batches[i].Last() == last {
			return frames
		}
	}
	return nil
}
