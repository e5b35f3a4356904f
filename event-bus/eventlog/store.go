package eventlog

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"runtime"
	"sync"
	"time"

	"github.com/klauspost/compress/zstd"

	"miniblog/internal/disk"
	"miniblog/internal/event"
)

// draft is a batch on its way to the disk.
type draft struct {
	batchHeader
	lines []byte
	frame *[]byte // header and data, from dataBuffers
	small []byte  // a copy of frame that is kept in memory; nil if it is large
}

// split parts requests of more than most bytes into about as many as there
// are processors: encoding is what takes longest. A request is never parted.
func split(requests []*request, most int) (parts [][]*request) {
	size := sizeOf(requests)
	if size > most {
		size = size/runtime.GOMAXPROCS(0) + 1
	}
	for len(requests) > 0 {
		n, bytes := 1, requests[0].size
		for n < len(requests) && bytes+requests[n].size <= size {
			bytes += requests[n].size
			n++
		}
		parts = append(parts, requests[:n])
		requests = requests[n:]
	}
	return parts
}

func sizeOf(requests []*request) (size int) {
	for _, r := range requests {
		size += r.size
	}
	return size
}

// draft gives sequences from first on to the events that are not stored yet,
// and returns them as a batch.
func (l *Log) draft(requests []*request, first event.Sequence) *draft {
	d := &draft{batchHeader: batchHeader{first: first}, lines: make([]byte, 0, sizeOf(requests))}
	for _, r := range requests {
		r.positions = make([]Position, len(r.lines))
		for i, line := range r.lines {
			next := first + event.Sequence(d.count)
			sequence, stored := l.ids.find(r.keys[i], next)
			if !stored {
				sequence = next
				d.count++
				l.ids.add(r.keys[i], sequence)
				d.lines = append(line.Append(d.lines, sequence), '\n')
			}
			r.positions[i] = Position{sequence, stored}
		}
	}
	return d
}

// encode encodes the data of batches, all at once.
func encode(drafts []*draft) {
	var others sync.WaitGroup
	for i, d := range drafts {
		if i+1 < len(drafts) {
			others.Go(d.encode)
		} else {
			d.encode()
		}
	}
	others.Wait()
}

// encode makes the frame of d, but for its header.
func (d *draft) encode() {
	e := fastEncoders.Get().(*zstd.Encoder)
	defer fastEncoders.Put(e)
	d.frame = dataBuffers.Get().(*[]byte)
	*d.frame = e.EncodeAll(d.lines, append((*d.frame)[:0], make([]byte, headerSize)...))
	data := (*d.frame)[headerSize:]
	d.dataLen, d.rawLen, d.dataCRC = uint32(len(data)), uint32(len(d.lines)), crc32.Checksum(data, castagnoli)
}

// putHeader writes the header of d, which says what was durable before it is stored.
func (d *draft) putHeader(durable event.Sequence) {
	d.durable = durable
	d.put(*d.frame)
	if len(*d.frame) <= smallFrames {
		d.small = bytes.Clone(*d.frame)
	}
}

// manyPublishers is from how many publishers on some have something to do for the
// processor while others wait for the disk.
const manyPublishers = 24

// store writes batches to the active segment, at once, and syncs it, aside in a crowd
// of publishers. After an error nothing of them is in the log.
func (l *Log) store(drafts []*draft, crowd bool) error {
	for _, d := range drafts {
		d.putHeader(event.Sequence(l.synced.Load()))
	}
	all := drafts[0].frame
	for _, d := range drafts[1:] {
		*all = append(*all, *d.frame...)
		dataBuffers.Put(d.frame)
	}
	defer dataBuffers.Put(all)
	active := l.activeLocked() // only who stores replaces it
	err := active.makeRoom(int64(len(*all)), l.options.room)
	if err == nil {
		if left := active.end - active.size - int64(len(*all)); left > 0 {
			*all = appendRoom(*all, left)
		}
		_, err = active.file.WriteAt(*all, active.size)
	}
	if disk.IsFull(err) {
		// What was written of them must go: the next one takes its place.
		if err := active.trim(); err == nil {
			l.options.Logger.Error("the disk is full: publishing fails until there is room")
			return ErrFull
		}
	}
	if err == nil && !l.options.copied {
		// Never again on this descriptor after it failed: the kernel has dropped
		// what was not written, and the next sync would say that all is well.
		syncFile := active.file.Sync
		if crowd {
			syncFile = func() error { return disk.SyncAside(active.file) }
		}
		begun := time.Now()
		err = syncFile()
		took := time.Since(begun)
		l.mu.Lock()
		l.pace.Took(took)
		l.mu.Unlock()
		syncSeconds.Observe(took.Seconds())
	}
	if err != nil {
		err = fmt.Errorf("%w: writing %s: %w", ErrReadOnly, active.name, err)
		l.options.Logger.Error("a write failed: the log can be read, and takes events again after a restart", "error", err)
		l.refuse(err)
	}
	return err
}

// makeRoom makes room for batches of size bytes, and for room bytes of what comes
// after them, unless they fit into what there is. To sync what is written into it
// is one write of the disk; to sync a file that grows takes its journal, too. Large
// batches gain nothing by that: the file grows by what they need.
func (s *segment) makeRoom(size, room int64) error {
	end := s.size + size
	if end == s.end || end+roomHeader <= s.end {
		return nil
	}
	if end > s.end && (size > smallFrames || room == 0) {
		s.end = end
		return nil
	}
	err := s.file.Reserve(end + roomHeader + room)
	if err == nil {
		s.end = end + roomHeader + room
	}
	return err
}

// trim takes off the file's end what is not a batch.
func (s *segment) trim() error {
	err := s.file.Truncate(s.size)
	if err == nil {
		s.end = s.size
	}
	return err
}

func (l *Log) activeFull() bool { return l.activeLocked().raw >= l.options.SegmentBytes }

// roll begins the next segment and leaves the full one to the sealer. Without
// room for it, or without a descriptor, the full one goes on growing.
func (l *Log) roll() {
	if l.failed != nil {
		return
	}
	// Room, and what was cut off at the start or on a full disk, must be off the full
	// one for good: only the newest segment's end is ever taken for unwritten or torn.
	var next *segment
	full := l.activeLocked()
	err := full.trim()
	if err == nil {
		err = full.file.Sync()
	}
	if err == nil {
		next, err = createActive(l.folder, l.durable+1)
	}
	if errors.Is(err, disk.ErrUnchanged) && (disk.IsFull(err) || disk.OutOfFiles(err)) {
		return // it is tried again after the next group
	}
	if err != nil {
		err = fmt.Errorf("%w: beginning a segment: %w", ErrReadOnly, err)
		l.options.Logger.Error("a segment could not be begun: the log can be read, and takes events again after a restart", "error", err)
		l.refuse(err)
		return
	}
	l.mu.Lock()
	l.segments = append(l.segments, next)
	l.mu.Unlock()
	select {
	case l.rolled <- struct{}{}:
	default:
	}
}
