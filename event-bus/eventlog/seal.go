package eventlog

import (
	"context"
	"fmt"
	"hash/crc32"
	"sync"
	"time"

	"github.com/klauspost/compress/zstd"

	"miniblog/internal/disk"
	"miniblog/internal/event"
)

// frameBytes is how many bytes of lines a frame of a sealed segment holds. To
// find one event its frame is decoded; half as long a frame costs 2 % more bytes.
const frameBytes = 768 << 10

// seal is the sealer: it rewrites each full segment in large frames, which are
// many times smaller than the events. A segment that cannot be sealed stays as
// it is, whole, until the next roll or start.
func (l *Log) seal(ctx context.Context) {
	for {
		for _, s := range l.unsealed() {
			if err := l.sealSegment(ctx, s); err != nil && ctx.Err() == nil {
				l.options.Logger.Warn("a full segment could not be sealed; it stays as it is and is tried again later", "segment", s.name, "error", err)
			}
		}
		select {
		case <-l.rolled:
		case <-ctx.Done():
			return
		}
	}
}

// unsealed returns the segments that are full and not sealed.
func (l *Log) unsealed() (full []*segment) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.segments[:len(l.segments)-1] {
		if !s.sealed {
			full = append(full, s)
		}
	}
	return full
}

// sealSegment writes the sealed form of s beside it, syncs it, gives it its
// name, and only then removes s. Readers of s may go on with it.
func (l *Log) sealSegment(ctx context.Context, s *segment) error {
	sealed, err := l.rewrite(ctx, s)
	if err != nil {
		return err
	}
	l.mu.Lock()
	for i := range l.segments {
		if l.segments[i] == s {
			l.segments[i] = sealed
		}
	}
	l.mu.Unlock()
	if err := l.folder.Remove(s.name); err != nil {
		return err
	}
	l.options.Logger.Debug("sealed a segment", "segment", sealed.name, "bytes", sealed.size, "was", s.size, "events_bytes", s.raw)
	return l.folder.SyncDir()
}

// rewrite writes the sealed form of s and makes it and its name durable.
func (l *Log) rewrite(ctx context.Context, s *segment) (*segment, error) {
	sealed := &segment{name: sealedName(s.first), first: s.first, last: s.first - 1, sealed: true}
	_, err := disk.Make(l.folder, sealed.name, func(f disk.File) error {
		sealed.file = f
		if err := sealed.copyFrom(ctx, s, l.giveWay); err != nil {
			return err
		}
		_, err := f.WriteAt(appendIndex(nil, sealed.entries, sealed.last), sealed.size)
		return err
	})
	return sealed, err
}

// Sealing waits while publishers do, for they need the processor more, but not
// beyond this many full segments: Open reads each of them whole, some 9 MB. While
// somebody publishes it rests after each frame, and is content with one 8 % larger:
// that takes some 6 ms of one processor instead of 20, which all who deal with the
// events then lack, and 8 MB instead of 39.
const (
	busyFor     = 50 * time.Millisecond // after somebody had to wait for the writer
	sealRest    = 200 * time.Millisecond
	mostWaiting = 32
)

// giveWay blocks while the writer is busy, and for a rest if anything was published
// since the last call. It returns the encoders for the next frame, or ctx's error.
func (l *Log) giveWay(ctx context.Context) (*sync.Pool, error) {
	encoders := &smallestEncoders
	if last := l.Last(); last != l.sealedBeside {
		l.sealedBeside = last
		encoders = &smallEncoders
		select {
		case <-time.After(sealRest):
		case <-ctx.Done():
		}
	}
	for int64(time.Since(l.opened)) < l.busyUntil.Load() && len(l.unsealed()) < mostWaiting {
		select {
		case <-time.After(busyFor):
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			break
		}
	}
	return encoders, ctx.Err()
}

// copyFrom writes the events of s in large frames. Each event of s is decoded
// and checked on the way: damage is not copied. giveWay is called between frames; the
// first one is encoded as beside publishers.
func (s *segment) copyFrom(ctx context.Context, from *segment, giveWay func(context.Context) (*sync.Pool, error)) error {
	var lines, pending, frame []byte
	count, encoders := uint32(0), &smallEncoders
	flush := func() error {
		if count == 0 {
			return nil
		}
		encoder := encoders.Get().(*zstd.Encoder)
		frame = encoder.EncodeAll(pending, append(frame[:0], make([]byte, headerSize)...))
		encoders.Put(encoder)
		data := frame[headerSize:]
		b := batchHeader{
			first: s.last + 1, count: count, durable: s.last,
			dataLen: uint32(len(data)), rawLen: uint32(len(pending)), dataCRC: crc32.Checksum(data, castagnoli),
		}
		b.put(frame)
		if _, err := s.file.WriteAt(frame, s.size); err != nil {
			return err
		}
		s.add(b)
		pending, count = pending[:0], 0
		return nil
	}
	next := s.first
	for _, e := range from.entries {
		var err error
		if _, lines, err = from.readLines(e, lines); err != nil {
			return err
		}
		for text := range (Batch{Text: lines}).Lines() {
			if line, ok := event.ReadLine(text); !ok || line.Sequence() != next {
				return from.damage(e.offset, next, fmt.Errorf("another event stands in its place"))
			}
			next++
			if len(pending)+len(text) >= frameBytes {
				err := flush()
				if err == nil {
					encoders, err = giveWay(ctx)
				}
				if err != nil {
					return err
				}
			}
			pending = append(append(pending, text...), '\n')
			count++
		}
	}
	return flush()
}

// encodePart encodes lines for a reader that begins or ends within a frame.
func encodePart(lines []byte) []byte {
	e := fastEncoders.Get().(*zstd.Encoder)
	defer fastEncoders.Put(e)
	return e.EncodeAll(lines, nil)
}
