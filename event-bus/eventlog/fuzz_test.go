package eventlog

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"runtime"
	"slices"
	"testing"

	"miniblog/internal/event"
)

// Whatever a segment holds, opening and reading the log does not panic, takes
// memory in proportion to what the segment says of itself, and gives events in
// order or an error.
func FuzzOpen(f *testing.F) {
	for _, seed := range segmentSeeds() {
		for _, sealed := range []bool{false, true} {
			f.Add(seed, sealed, false)
			f.Add(seed, sealed, true)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte, sealed, mend bool) {
		if mend {
			b = mended(b)
		}
		name, next := activeName(1), event.Sequence(0)
		if sealed {
			name, next = sealedName(1), lastOfIndex(b)+1
		}
		disk := diskWith(t, name, b)
		if sealed {
			if _, err := disk.Create(activeName(next)); err != nil {
				t.Fatal(err)
			}
		}
		limit := memoryFor(b)
		l, err := open(disk, Options{Logger: quiet})
		if err != nil {
			mustBeDamage(t, err)
		} else {
			defer l.Close()
			mustReadInOrder(t, l)
		}
		limit.check(t)
	})
}

// Whatever becomes of a segment under a log that is open, its readers get what
// was there or an error.
func FuzzRead(f *testing.F) {
	for _, seed := range segmentSeeds() {
		f.Add(seed, false)
		f.Add(seed, true)
	}
	f.Fuzz(func(t *testing.T, b []byte, mend bool) {
		if mend {
			b = mended(b)
		}
		whole := appendBatch(appendBatch(appendBatch(nil, 1, 0), 2, 1), 3, 2)
		disk := diskWith(t, activeName(1), whole)
		l, err := open(disk, Options{Logger: quiet})
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		if err := disk.Damage(activeName(1), func([]byte) []byte { return b }); err != nil {
			t.Fatal(err)
		}
		limit := memoryFor(b)
		mustReadInOrder(t, l)
		limit.check(t)
	})
}

// segmentSeeds are segments as they are, and torn and damaged ones.
func segmentSeeds() [][]byte {
	active := appendBatch(appendBatch(appendBatch(nil, 1, 0), 2, 1), 3, 2)
	entries := []entry{{1, 0}, {2, int64(len(active) / 3)}}
	sealed := appendIndex(slices.Clone(active), entries, 3)
	flipped := slices.Clone(active)
	flipped[len(active)/2] ^= 8
	return [][]byte{
		nil, active, sealed, flipped,
		active[:len(active)-1], active[:headerSize], active[:headerSize-1],
		append(slices.Clone(active), make([]byte, 1000)...),
		appendBatch(slices.Clone(active), 5, 4), appendBatch(slices.Clone(active), 1, 0), appendBatch(make([]byte, 100), 1<<40, 1<<39),
		sealed[len(active):], sealed[:len(sealed)-1], append(slices.Clone(sealed), sealed...),
	}
}

// mended returns b with the checksums that its batches and its index should
// have, so that what they claim is looked at.
func mended(b []byte) []byte {
	b = slices.Clone(b)
	le := binary.LittleEndian
	for at := 0; at+headerSize <= len(b); {
		h := b[at:]
		le.PutUint32(h[0:], batchMagic)
		le.PutUint32(h[4:], headerSize-8)
		copy(h[8:], version)
		size := min(int(le.Uint32(h[32:])), len(h)-headerSize)
		le.PutUint32(h[40:], crc32.Checksum(h[headerSize:headerSize+size], castagnoli))
		le.PutUint32(h[44:], crc32.Checksum(h[:44], castagnoli))
		at += headerSize + size
		if at+indexFixed <= len(b) && le.Uint32(b[at:]) == indexMagic {
			index := b[at:]
			le.PutUint32(index[len(index)-8:], crc32.Checksum(index[:len(index)-8], castagnoli))
			break
		}
	}
	return b
}

// lastOfIndex returns the last sequence that a sealed segment claims to hold.
func lastOfIndex(b []byte) event.Sequence {
	if len(b) < indexFooter {
		return 1
	}
	last := event.Sequence(binary.LittleEndian.Uint64(b[len(b)-indexFooter:]))
	return min(max(last, 1), 1<<62)
}

// memoryLimit is what may be taken, in bytes, beyond what was taken before.
type memoryLimit struct{ before, most uint64 }

// memoryFor returns the limit for reading b several times: some for every
// reader, and the lines that its batches claim to have.
func memoryFor(b []byte) memoryLimit {
	m := memoryLimit{most: 32<<20 + 16*uint64(len(b))}
	for at := range b {
		if header, err := parseHeader(b[at:]); err == nil {
			m.most += 8 * uint64(header.rawLen)
		}
	}
	m.before = allocated()
	return m
}

func (m memoryLimit) check(t *testing.T) {
	if took := allocated() - m.before; took > m.most {
		t.Errorf("took %d bytes, and may take %d", took, m.most)
	}
}

func allocated() uint64 {
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return s.TotalAlloc
}

func mustBeDamage(t *testing.T, err error) {
	t.Helper()
	var damage *Damage
	if !errors.As(err, &damage) {
		t.Fatalf("the log does not open, and does not say that it is damaged: %v", err)
	}
	if damage.File == "" {
		t.Fatalf("the damage has no file: %v", err)
	}
	if damage.Event == 0 {
		t.Fatalf("the damage has no event: %v", err)
	}
}

// mustReadInOrder reads a log in every way.
func mustReadInOrder(t *testing.T, l *Log) {
	t.Helper()
	for _, after := range []event.Sequence{0, 1, l.Last() / 2, l.Last() - 1} {
		next := after
		for r := l.Reader(after); ; {
			b, err := r.Next()
			if err != nil {
				mustBeDamage(t, err)
				break
			}
			if b.Count == 0 {
				break
			}
			if b.First != next+1 || b.Count != bytes.Count(b.Text, newline) {
				t.Fatalf("after event %d comes a batch of %d from %d: %q", next, b.Count, b.First, b.Text)
			}
			next = b.Last()
		}
		frames, err := l.Frames(after, 2, nil)
		if err != nil {
			mustBeDamage(t, err)
			continue
		}
		var encoded bytes.Buffer
		if _, err := frames.WriteTo(&encoded); err == nil && int64(encoded.Len()) != frames.Size {
			t.Fatalf("%d bytes of frames were announced and %d sent", frames.Size, encoded.Len())
		}
		frames.Close()
	}
}
