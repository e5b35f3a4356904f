package eventlog

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"sort"

	"miniblog/internal/disk"
	"miniblog/internal/event"
)

// segment is one file of the log.
//
//   - entries, size and last of the active segment grow under Log.mu, and only
//     after the bytes they speak of are on disk.
//   - From size to end the newest segment has room: nothing was written there but
//     the room's header. Every other segment ends with what it holds. end is the
//     writer's.
//   - A sealed segment never changes.
//   - file stays open for as long as anybody may read it; a segment that was
//     replaced by its sealed form is closed when the last reader forgets it.
type segment struct {
	name    string
	file    disk.File
	first   event.Sequence // of the first event, stored or still to come
	last    event.Sequence // first-1 while there are none
	entries []entry
	size    int64 // bytes of batches
	end     int64 // of the file, active segments only
	raw     int64 // bytes of lines, active segments only
	sealed  bool
}

// scanBytes is how much of a file is read at once, in bytes.
const scanBytes = 1 << 20

// scan reads the batches of an active segment of size bytes from its start and
// verifies their headers and the checksums of their data. It fills in s up to
// the first batch that does not hold, and returns what is wrong with that one:
// nil at the end of the file.
func (s *segment) scan(size int64) error {
	r := bufio.NewReaderSize(io.NewSectionReader(s.file, 0, size), int(min(scanBytes, size)))
	header := make([]byte, headerSize)
	sum := crc32.New(castagnoli)
	for {
		n, err := io.ReadFull(r, header)
		if err == io.EOF {
			return nil
		}
		if err != nil && err != io.ErrUnexpectedEOF {
			return err
		}
		b, err := parseHeader(header[:n])
		if err != nil {
			return err
		}
		if b.first != s.last+1 || b.durable >= b.first {
			return fmt.Errorf("a batch of events from %d stands where event %d should be: %w", b.first, s.last+1, errHeader)
		}
		sum.Reset()
		if _, err := io.CopyN(sum, r, int64(b.dataLen)); err == io.EOF {
			return errShort
		} else if err != nil {
			return err
		}
		if sum.Sum32() != b.dataCRC {
			return errData
		}
		s.add(b)
	}
}

// add takes note of a batch that is in the file, and durable.
func (s *segment) add(b batchHeader) {
	s.entries = append(s.entries, entry{b.first, s.size})
	s.last = b.last()
	s.size += b.size()
	s.raw += int64(b.rawLen)
}

// durableAfter looks for batches at or after offset and returns the highest
// sequence that one of them says was durable before it was written, 0 if there
// is none. What is no header does not look like one: it has a checksum.
func (s *segment) durableAfter(offset, size int64) (event.Sequence, error) {
	magic := []byte{0x5B, 0x2A, 0x4D, 0x18}
	var highest event.Sequence
	buf := make([]byte, min(scanBytes, max(0, size-offset)))
	for offset+headerSize <= size {
		chunk := buf[:min(int64(len(buf)), size-offset)]
		if _, err := s.file.ReadAt(chunk, offset); err != nil && err != io.EOF {
			return 0, err
		}
		for at := 0; ; at++ {
			i := bytes.Index(chunk[at:], magic)
			if i < 0 || at+i+headerSize > len(chunk) {
				break
			}
			at += i
			if b, err := parseHeader(chunk[at:]); err == nil {
				highest = max(highest, b.durable)
			}
		}
		offset += int64(len(chunk)) - headerSize + 1 // a header may lie across two chunks
	}
	return highest, nil
}

// written returns where in the file the last byte from offset on is that is not
// zero, and one more; offset if there is none.
func (s *segment) written(offset, size int64) (end int64, err error) {
	end = offset
	buf := make([]byte, min(scanBytes, max(0, size-offset)))
	for ; offset < size; offset += int64(len(buf)) {
		buf = buf[:min(int64(len(buf)), size-offset)]
		if _, err := s.file.ReadAt(buf, offset); err != nil && err != io.EOF {
			return 0, err
		}
		if text := bytes.TrimRight(buf, "\x00"); len(text) > 0 {
			end = offset + int64(len(text))
		}
	}
	return end, nil
}

// hasRoom tells whether the file, of size bytes, ends with room right after its
// batches. written is where the last byte is that is not zero.
func (s *segment) hasRoom(size, written int64) (bool, error) {
	if size-s.size < roomHeader || written > s.size+roomHeader {
		return false, nil
	}
	var header [roomHeader]byte
	_, err := s.file.ReadAt(header[:], s.size)
	return bytes.Equal(header[:], appendRoom(nil, size-s.size)), err
}

// loadIndex fills in a sealed segment of size bytes from its index.
func (s *segment) loadIndex(size int64) error {
	if size < indexFixed {
		return errIndex
	}
	footer := make([]byte, indexFooter)
	if _, err := s.file.ReadAt(footer, size-indexFooter); err != nil {
		return err
	}
	length, err := parseFooter(footer)
	if err != nil || length > size {
		return errIndex
	}
	index := make([]byte, length)
	if _, err := s.file.ReadAt(index, size-length); err != nil {
		return err
	}
	s.entries, s.last, err = parseIndex(index, size-length)
	if err != nil {
		return err
	}
	if s.entries[0].first != s.first {
		return errIndex
	}
	s.size, s.sealed = size-length, true
	return nil
}

// find returns the index in entries of the batch that holds the sequence.
func find(entries []entry, sequence event.Sequence) int {
	return sort.Search(len(entries), func(i int) bool { return entries[i].first > sequence }) - 1
}

// damage says that the event of that sequence, at offset, cannot be read.
func (s *segment) damage(offset int64, sequence event.Sequence, err error) error {
	return &Damage{File: s.name, Offset: offset, Event: sequence, Err: err}
}

// readHeader returns the header of the batch at e. What does not hold is damage:
// the batch was durable.
func (s *segment) readHeader(e entry) (batchHeader, error) {
	var header [headerSize]byte
	if _, err := s.file.ReadAt(header[:], e.offset); err != nil {
		return batchHeader{}, s.damage(e.offset, e.first, err)
	}
	b, err := parseHeader(header[:])
	if err != nil {
		return batchHeader{}, s.damage(e.offset, e.first, err)
	}
	if b.first != e.first {
		return batchHeader{}, s.damage(e.offset, e.first, errHeader)
	}
	return b, nil
}

// readEncoded returns the encoded data of the batch at e, in buf if it has room.
// What does not hold is damage.
func (s *segment) readEncoded(e entry, b batchHeader, buf []byte) ([]byte, error) {
	if cap(buf) < int(b.dataLen) {
		buf = make([]byte, b.dataLen)
	}
	buf = buf[:b.dataLen]
	if _, err := s.file.ReadAt(buf, e.offset+headerSize); err != nil {
		return nil, s.damage(e.offset, e.first, err)
	}
	if crc32.Checksum(buf, castagnoli) != b.dataCRC {
		return nil, s.damage(e.offset, e.first, errData)
	}
	return buf, nil
}

// readLines returns the header and the lines of the batch at e, appended to
// lines[:0].
func (s *segment) readLines(e entry, lines []byte) (batchHeader, []byte, error) {
	return s.readSome(e, math.MaxUint64, lines, nil)
}

// readSome is readLines for the first n lines; of more than the batch has, it
// returns all. What it does not return it need not decode. Unless reserve is nil
// it is asked before there is memory for the batch.
func (s *segment) readSome(e entry, n uint64, lines []byte, reserve Reserve) (batchHeader, []byte, error) {
	b, err := s.readHeader(e)
	if err != nil {
		return batchHeader{}, nil, err
	}
	if reserve != nil {
		if err := reserve(int(b.dataLen) + max(int(b.rawLen), cap(lines))); err != nil {
			return batchHeader{}, nil, err
		}
	}
	buf := dataBuffers.Get().(*[]byte)
	defer dataBuffers.Put(buf)
	data, err := s.readEncoded(e, b, *buf)
	if err != nil {
		return batchHeader{}, nil, err
	}
	*buf = data[:0]
	if cap(lines) < int(b.rawLen) {
		lines = make([]byte, 0, b.rawLen)
	}
	if n < uint64(b.count) {
		if lines, err = decodeSome(data, int(n), lines[:b.rawLen]); err != nil {
			return batchHeader{}, nil, s.damage(e.offset, e.first, err)
		}
		b.count = uint32(n)
		return b, lines, nil
	}
	lines, err = decoder().DecodeAll(data, lines[:0])
	if err != nil {
		return batchHeader{}, nil, s.damage(e.offset, e.first, err)
	}
	if len(lines) != int(b.rawLen) || bytes.Count(lines, newline) != int(b.count) || lines[len(lines)-1] != '\n' {
		return batchHeader{}, nil, s.damage(e.offset, e.first, errData)
	}
	return b, lines, nil
}

var errFewer = errors.New("a batch holds fewer events than the index says")

// readFrom returns the batch at e, which holds the sequence, up to the event last
// at least. Its Text is lines if that has room.
func (s *segment) readFrom(e entry, sequence, last event.Sequence, lines []byte, reserve Reserve) (Batch, error) {
	b, lines, err := s.readSome(e, uint64(last-e.first)+1, lines, reserve)
	if err == nil && b.last() < sequence {
		err = s.damage(e.offset, sequence, errFewer)
	}
	return Batch{b.first, int(b.count), lines}, err
}

var newline = []byte{'\n'}
