package eventlog

import (
	"crypto/sha256"
	"encoding/binary"

	"miniblog/internal/event"
)

// remembered is how many of the newest ids are known for certain.
const remembered = 100_000

// ids knows the sequences of the newest ids, so that an id is stored once. It
// holds between remembered and twice as many, and what came with one group: two
// generations, the older of which is forgotten at once. It belongs to the writer.
type ids struct {
	young, old generation
}

// generation is a map with a sketch of its keys: a key whose bit is not set is
// not in the map. Nearly every id is new, and the sketch fits a processor's cache.
type generation struct {
	sequences map[idKey]event.Sequence
	sketch    []uint64
}

const sketchBits = 1 << 20

// idKey stands for an id of any length. Two ids with one key would take
// breaking SHA-256 cut to 128 bits.
type idKey [16]byte

func keyOf(id []byte) idKey {
	sum := sha256.Sum256(id)
	return idKey(sum[:16])
}

// bit returns the place of k in a sketch.
func (k idKey) bit() (word uint32, mask uint64) {
	n := binary.LittleEndian.Uint32(k[:]) % sketchBits
	return n / 64, 1 << (n % 64)
}

func (x *ids) find(k idKey) (event.Sequence, bool) {
	if q, ok := x.young.find(k); ok {
		return q, true
	}
	return x.old.find(k)
}

func (g *generation) find(k idKey) (q event.Sequence, ok bool) {
	if word, mask := k.bit(); g.sketch != nil && g.sketch[word]&mask != 0 {
		q, ok = g.sequences[k]
	}
	return q, ok
}

// rotate forgets the older generation when the younger is large enough; to be
// called before a group is added.
func (x *ids) rotate() {
	if x.young.sequences == nil {
		x.young = generation{map[idKey]event.Sequence{}, make([]uint64, sketchBits/64)}
	}
	if len(x.young.sequences) >= remembered {
		clear(x.old.sequences)
		clear(x.old.sketch)
		x.old, x.young = x.young, x.old
		x.rotate()
	}
}

func (x *ids) add(k idKey, q event.Sequence) {
	word, mask := k.bit()
	x.young.sketch[word] |= mask
	x.young.sequences[k] = q
}

// forget takes keys back that were added since rotate, with first or later.
func (x *ids) forget(keys []idKey, first event.Sequence) {
	for _, k := range keys {
		if x.young.sequences[k] >= first {
			delete(x.young.sequences, k)
		}
	}
}
