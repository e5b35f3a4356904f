package eventlog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"strings"

	"miniblog/internal/event"
)

// A segment is a file of batches, one after the other, without anything
// between them. A batch is two zstd frames (RFC 8878): a skippable one with our
// header, which every zstd decoder passes over, and the data, which decodes to
// NDJSON: one event a line. All integers are little-endian.
//
//	byte  0  magic of a skippable frame, 0x184D2A5B
//	      4  length of the rest of the header: 40
//	      8  "mbl1": miniblog's log, version 1
//	     12  count: events in this batch
//	     16  first: sequence of the first of them
//	     24  durable: the last sequence known to be on disk when this was written
//	     32  length of the data frame
//	     36  length of the lines that it decodes to
//	     40  CRC-32C of the data frame
//	     44  CRC-32C of bytes 0 to 43
//	     48  the data frame: zstd with its content checksum
//
// The newest segment may end with room for what comes, a skippable frame whose
// contents are still to be written. A batch that fits takes its place, followed by
// the header of what is left of it, in one write:
//
//	byte  0  magic of a skippable frame, 0x184D2A5D
//	      4  length of the rest of the file
//	      8  zeroes
//
// A sealed segment ends with its index, a skippable frame that no batch follows:
//
//	byte  0  magic of a skippable frame, 0x184D2A5C
//	      4  length of the rest of the frame: 20 + 16 n
//	      8  n times: first sequence of a batch, offset of the batch
//	      .  last: the segment's last sequence
//	      .  n, as 4 bytes
//	      .  CRC-32C of everything before it in this frame
//	      .  "mbix"
const (
	batchMagic  = 0x184D2A5B
	headerSize  = 48
	version     = "mbl1"
	roomMagic   = 0x184D2A5D
	roomHeader  = 8
	indexMagic  = 0x184D2A5C
	indexEnd    = "mbix"
	indexFixed  = 28 // of the index, without its n entries
	indexEntry  = 16
	indexFooter = 20 // last, n, CRC, "mbix"
)

// maxFrame bounds what a header may claim of its data, encoded or not, in
// bytes: the largest batch that may be published is 16 MiB, and each of its
// events may grow by an envelope.
const maxFrame = 256 << 20

// maxLines is how many bytes of lines a batch may have: encoded, they may be a
// little longer, and must still be taken for a batch when they are read back.
const maxLines = maxFrame - 1<<20

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// batchHeader is the header of a batch, decoded.
type batchHeader struct {
	first   event.Sequence
	count   uint32
	durable event.Sequence
	dataLen uint32
	rawLen  uint32
	dataCRC uint32
}

func (b batchHeader) last() event.Sequence { return b.first + event.Sequence(b.count) - 1 }

// size is the batch's length in the file.
func (b batchHeader) size() int64 { return headerSize + int64(b.dataLen) }

// put encodes the header into h, which has headerSize bytes.
func (b batchHeader) put(h []byte) {
	le := binary.LittleEndian
	le.PutUint32(h[0:], batchMagic)
	le.PutUint32(h[4:], headerSize-8)
	copy(h[8:], version)
	le.PutUint32(h[12:], b.count)
	le.PutUint64(h[16:], uint64(b.first))
	le.PutUint64(h[24:], uint64(b.durable))
	le.PutUint32(h[32:], b.dataLen)
	le.PutUint32(h[36:], b.rawLen)
	le.PutUint32(h[40:], b.dataCRC)
	le.PutUint32(h[44:], crc32.Checksum(h[:44], castagnoli))
}

var (
	errShort  = errors.New("the file ends within a batch")
	errHeader = errors.New("this is not the header of a batch, or its checksum does not match")
	errData   = errors.New("the checksum of a batch's data does not match")
)

// parseHeader decodes a header. errShort: more bytes are needed. errHeader: no
// header starts here.
func parseHeader(h []byte) (batchHeader, error) {
	if len(h) < headerSize {
		return batchHeader{}, errShort
	}
	le := binary.LittleEndian
	if le.Uint32(h) != batchMagic || le.Uint32(h[4:]) != headerSize-8 || string(h[8:12]) != version ||
		le.Uint32(h[44:]) != crc32.Checksum(h[:44], castagnoli) {
		return batchHeader{}, errHeader
	}
	b := batchHeader{
		count:   le.Uint32(h[12:]),
		first:   event.Sequence(le.Uint64(h[16:])),
		durable: event.Sequence(le.Uint64(h[24:])),
		dataLen: le.Uint32(h[32:]),
		rawLen:  le.Uint32(h[36:]),
		dataCRC: le.Uint32(h[40:]),
	}
	if b.count == 0 || b.first == 0 || b.first+event.Sequence(b.count) < b.first || b.dataLen > maxFrame || b.rawLen > maxFrame {
		return batchHeader{}, errHeader
	}
	return b, nil
}

// appendRoom appends the header of room that takes size bytes with it.
func appendRoom(b []byte, size int64) []byte {
	b = binary.LittleEndian.AppendUint32(b, roomMagic)
	return binary.LittleEndian.AppendUint32(b, uint32(size-roomHeader))
}

// entry says where a batch starts.
type entry struct {
	first  event.Sequence
	offset int64
}

// appendIndex appends the index of a sealed segment to b.
func appendIndex(b []byte, entries []entry, last event.Sequence) []byte {
	le := binary.LittleEndian
	start := len(b)
	b = le.AppendUint32(b, indexMagic)
	b = le.AppendUint32(b, uint32(indexFixed-8+indexEntry*len(entries)))
	for _, e := range entries {
		b = le.AppendUint64(b, uint64(e.first))
		b = le.AppendUint64(b, uint64(e.offset))
	}
	b = le.AppendUint64(b, uint64(last))
	b = le.AppendUint32(b, uint32(len(entries)))
	b = le.AppendUint32(b, crc32.Checksum(b[start:], castagnoli))
	return append(b, indexEnd...)
}

var errIndex = errors.New("the index at the end of a sealed segment is missing, or its checksum does not match")

// parseFooter reads the last indexFooter bytes of a sealed segment and returns
// the length of its whole index.
func parseFooter(footer []byte) (size int64, err error) {
	if len(footer) != indexFooter || string(footer[16:]) != indexEnd {
		return 0, errIndex
	}
	return indexFixed + indexEntry*int64(binary.LittleEndian.Uint32(footer[8:])), nil
}

// parseIndex decodes an index; data bytes of batches come before it.
func parseIndex(b []byte, data int64) (entries []entry, last event.Sequence, err error) {
	le := binary.LittleEndian
	if len(b) < indexFixed || le.Uint32(b) != indexMagic || le.Uint32(b[4:]) != uint32(len(b)-8) ||
		le.Uint32(b[len(b)-8:]) != crc32.Checksum(b[:len(b)-8], castagnoli) {
		return nil, 0, errIndex
	}
	last = event.Sequence(le.Uint64(b[len(b)-indexFooter:]))
	next := entry{offset: 0}
	for at := 8; at < len(b)-indexFooter; at += indexEntry {
		e := entry{event.Sequence(le.Uint64(b[at:])), int64(le.Uint64(b[at+8:]))}
		if e.first < next.first || e.first > last || e.offset < next.offset || e.offset >= data {
			return nil, 0, errIndex
		}
		entries = append(entries, e)
		next = entry{e.first + 1, e.offset + headerSize}
	}
	if len(entries) == 0 || entries[0].offset != 0 {
		return nil, 0, errIndex
	}
	return entries, last, nil
}

// The names of segments, by their first sequence. A segment is written as
// active; sealed, it loses the word.
const (
	sealedSuffix = ".zst"
	activeSuffix = ".active.zst"
)

func sealedName(first event.Sequence) string { return first.String() + sealedSuffix }
func activeName(first event.Sequence) string { return first.String() + activeSuffix }

// parseName is the inverse of sealedName and activeName.
func parseName(name string) (first event.Sequence, sealed, ok bool) {
	digits, active := strings.CutSuffix(name, activeSuffix)
	if !active {
		if digits, ok = strings.CutSuffix(name, sealedSuffix); !ok {
			return 0, false, false
		}
	}
	first, err := event.ParseSequence(digits)
	if err != nil || len(digits) != event.SequenceDigits || first == 0 {
		return 0, false, false
	}
	return first, !active, true
}

// Damage is what is wrong with a log that must not be opened: events that were
// acknowledged cannot be read.
type Damage struct {
	File   string         // name of the segment
	Offset int64          // where in it the damage starts
	Event  event.Sequence // the first event that cannot be read
	Err    error
}

// Error implements error.
func (d *Damage) Error() string {
	return fmt.Sprintf("%s is damaged at byte %d, where event %d should be: %v", d.File, d.Offset, d.Event, d.Err)
}

// Unwrap returns the cause.
func (d *Damage) Unwrap() error { return d.Err }
