package eventlog

import (
	"bytes"
	"io"
	"iter"
	"math"

	"miniblog/internal/disk"
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

// Reader reads a log in order. It belongs to one goroutine.
type Reader struct {
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
		if b, err = s.readFrom(e, r.next, max(r.next, r.last), *r.lines); err != nil {
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
	lo, hi := 0, len(r.batches)
	for lo < hi {
		mid := (lo + hi) / 2
		if r.batches[mid].Last() < sequence {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo, lo < len(r.batches) && r.batches[lo].First <= sequence
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

// Frames is a run of events as zstd frames that decode to their lines. It holds
// files open until Close.
type Frames struct {
	Size   int64 // in bytes
	Last   event.Sequence
	pieces []piece
}

// piece is a part of Frames: bytes, or a range of a file.
type piece struct {
	bytes  []byte
	file   disk.File
	offset int64
	size   int64
}

// Frames returns the events after the given one, limit of them at most, as they
// are on disk: only where they begin or end within a frame is it decoded. Size
// is 0 if there are none. Whoever decodes them checks them: each frame has its
// checksum and each event its sequence.
func (l *Log) Frames(after event.Sequence, limit uint64) (*Frames, error) {
	f := &Frames{Last: after}
	durable := l.Last()
	if durable <= after {
		return f, nil
	}
	last := durable
	if limit < uint64(durable-after) {
		last = after + event.Sequence(limit)
	}
	for f.Last < last {
		if err := f.extend(l, last); err != nil {
			f.Close()
			return nil, err
		}
	}
	return f, nil
}

// extend adds what one segment has, up to the event last, or the part of one
// batch where the run begins or ends within it.
func (f *Frames) extend(l *Log, last event.Sequence) error {
	l.mu.Lock()
	encoded := l.recent.encoded(f.Last+1, last)
	b, inMemory := l.recent.find(f.Last + 1)
	s := l.segmentLocked(f.Last + 1)
	entries, size, end := s.entries, s.size, s.last
	l.mu.Unlock()
	if encoded != nil { // who follows the log: no file is touched
		f.add(piece{bytes: encoded})
		f.Last = last
		return nil
	}
	i := find(entries, f.Last+1)
	if entries[i].first <= f.Last || lastOf(entries, i, end) > last {
		var err error
		if !inMemory {
			b, err = s.readFrom(entries[i], f.Last+1, last, nil)
		}
		if err != nil {
			return err
		}
		b = b.After(f.Last).Until(last)
		f.add(piece{bytes: encodePart(b.Text)})
		f.Last = b.Last()
		return nil
	}
	j := i // the first batch that is not wanted whole
	for j < len(entries) && lastOf(entries, j, end) <= last {
		j++
	}
	stop, until := size, end
	if j < len(entries) {
		stop, until = entries[j].offset, entries[j].first-1
	}
	file, err := l.folder.Open(s.name)
	if err != nil {
		if s = l.replacement(s); s == nil {
			return err
		}
		return nil // it was sealed in between: the next round finds its sealed form
	}
	f.add(piece{file: file, offset: entries[i].offset, size: stop - entries[i].offset})
	f.Last = until
	return nil
}

// lastOf returns the last sequence of batch i of a segment that ends with end.
func lastOf(entries []entry, i int, end event.Sequence) event.Sequence {
	if i+1 < len(entries) {
		return entries[i+1].first - 1
	}
	return end
}

// replacement returns the segment that took the place of s, nil if none did.
func (l *Log) replacement(s *segment) *segment {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now := l.segmentLocked(s.first); now != s {
		return now
	}
	return nil
}

func (f *Frames) add(p piece) {
	if p.file == nil {
		p.size = int64(len(p.bytes))
	}
	f.Size += p.size
	f.pieces = append(f.pieces, p)
}

// WriteTo writes the frames, a megabyte at a time; before each the caller
// may extend a deadline. From a file to a socket the kernel copies them.
func (f *Frames) WriteTo(w io.Writer) (written int64, err error) {
	for _, p := range f.pieces {
		var n int64
		if p.file == nil {
			var m int
			m, err = w.Write(p.bytes)
			n = int64(m)
		} else {
			n, err = p.copyTo(w)
		}
		written += n
		if err != nil {
			return written, err
		}
	}
	return written, nil
}

// copyBytes is how much of a file is handed to the socket at once.
const copyBytes = 1 << 20

func (p piece) copyTo(w io.Writer) (written int64, err error) {
	for written < p.size {
		want := min(copyBytes, p.size-written)
		section, err := p.file.Section(p.offset+written, want)
		if err != nil {
			return written, err
		}
		n, err := io.Copy(w, section)
		written += n
		if err == nil && n < want {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return written, err
		}
	}
	return written, nil
}

// Close closes the files.
func (f *Frames) Close() {
	for _, p := range f.pieces {
		if p.file != nil {
			p.file.Close()
		}
	}
}
