package eventlog

import (
	"io"

	"miniblog/internal/disk"
	"miniblog/internal/event"
)

// Frames is a run of events as zstd frames that decode to their lines. It holds
// files open until Close.
type Frames struct {
	Size   int64 // in bytes
	Held   int   // of them, in memory for this run alone
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
// checksum and each event its sequence. Unless reserve is nil it is asked before
// a frame is decoded.
func (l *Log) Frames(after event.Sequence, limit uint64, reserve Reserve) (*Frames, error) {
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
		if err := f.extend(l, last, reserve); err != nil {
			f.Close()
			return nil, err
		}
	}
	return f, nil
}

// extend adds what one segment has, up to the event last, or the part of one
// batch where the run begins or ends within it.
func (f *Frames) extend(l *Log, last event.Sequence, reserve Reserve) error {
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
			b, err = s.readFrom(entries[i], f.Last+1, last, nil, f.held(reserve))
		}
		if err != nil {
			return err
		}
		b = b.After(f.Last).Until(last)
		part := encodePart(b.Text)
		f.Held += cap(part)
		f.add(piece{bytes: part})
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

// held is reserve for what comes on top of what f holds already: lines, and what
// is encoded of them.
func (f *Frames) held(reserve Reserve) Reserve {
	if reserve == nil {
		return nil
	}
	return func(bytes int) error { return reserve(f.Held + bytes) }
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
