package eventlog

import (
	"encoding/binary"

	"miniblog/internal/event"
)

// remembered is how many events before an event have ids that it must not have
// again: exactly these, so that equal histories give equal answers.
const remembered = 100_000

// RememberedIDs is remembered, for those who tell people about the log.
const RememberedIDs = remembered

// ids knows the sequences of the newest ids, so that an id is stored once. It
// belongs to the writer.
//
//   - young and old hold between remembered and twice as many, and what came with
//     one group: the older generation is forgotten at once. find leaves out what
//     is too old.
//   - replaced holds what add has replaced since rotate, so that forget can put
//     it back.
type ids struct {
	young, old generation
	replaced   map[event.Key]event.Sequence
}

// generation is a map with a sketch of its keys: a key whose bit is not set is
// not in the map. Nearly every id is new, and the sketch fits a processor's cache.
type generation struct {
	sequences map[event.Key]event.Sequence
	sketch    []uint64
}

const sketchBits = 1 << 20

// bit returns the place of k in a sketch.
func bit(k event.Key) (word uint32, mask uint64) {
	n := binary.LittleEndian.Uint32(k[:]) % sketchBits
	return n / 64, 1 << (n % 64)
}

// find returns where the id of k is among the remembered events before next.
func (x *ids) find(k event.Key, next event.Sequence) (event.Sequence, bool) {
	sequence, ok := x.young.find(k)
	if !ok {
		sequence, ok = x.old.find(k)
	}
	return sequence, ok && next-sequence <= remembered
}

func (g *generation) find(k event.Key) (sequence event.Sequence, ok bool) {
	if word, mask := bit(k); g.sketch != nil && g.sketch[word]&mask != 0 {
		sequence, ok = g.sequences[k]
	}
	return sequence, ok
}

// full tells whether the younger generation is large enough to become the older.
func (x *ids) full() bool { return len(x.young.sequences) >= remembered }

// rotate forgets the older generation when the younger is full; to be called before
// a group is added, and not while one may still be taken back.
func (x *ids) rotate() {
	clear(x.replaced)
	if x.young.sequences == nil {
		x.young = generation{map[event.Key]event.Sequence{}, make([]uint64, sketchBits/64)}
	}
	if x.full() {
		clear(x.old.sequences)
		clear(x.old.sketch)
		x.old, x.young = x.young, x.old
		x.rotate()
	}
}

func (x *ids) add(k event.Key, sequence event.Sequence) {
	if before, ok := x.young.find(k); ok {
		if x.replaced == nil {
			x.replaced = map[event.Key]event.Sequence{}
		}
		x.replaced[k] = before
	}
	word, mask := bit(k)
	x.young.sketch[word] |= mask
	x.young.sequences[k] = sequence
}

// forget takes keys back that were added since rotate, with first or later.
func (x *ids) forget(keys []event.Key, first event.Sequence) {
	for _, k := range keys {
		if x.young.sequences[k] < first {
			continue
		}
		delete(x.young.sequences, k)
		if before, ok := x.replaced[k]; ok {
			x.young.sequences[k] = before
		}
	}
}
