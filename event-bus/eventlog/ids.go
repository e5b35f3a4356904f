package eventlog

import (
	"crypto/sha256"

	"miniblog/internal/event"
)

// remembered is how many of the newest ids are known for certain.
const remembered = 100_000

// ids knows the sequences of the newest ids, so that an id is stored once. It
// holds between remembered and twice as many, and what came with one group: two
// generations, the older of which is forgotten at once. It belongs to the writer.
type ids struct {
	young, old map[idKey]event.Sequence
}

// idKey stands for an id of any length. Two ids with one key would take
// breaking SHA-256 cut to 128 bits.
type idKey [16]byte

func keyOf(id []byte) idKey {
	sum := sha256.Sum256(id)
	return idKey(sum[:16])
}

func (x *ids) find(k idKey) (event.Sequence, bool) {
	if q, ok := x.young[k]; ok {
		return q, true
	}
	q, ok := x.old[k]
	return q, ok
}

// rotate forgets the older generation when the younger is large enough; to be
// called before a group is added.
func (x *ids) rotate() {
	if x.young == nil || len(x.young) >= remembered {
		clear(x.old)
		x.old, x.young = x.young, x.old
	}
	if x.young == nil {
		x.young = map[idKey]event.Sequence{}
	}
}

func (x *ids) add(k idKey, q event.Sequence) { x.young[k] = q }

// forget takes keys back that were added since rotate, with first or later.
func (x *ids) forget(keys []idKey, first event.Sequence) {
	for _, k := range keys {
		if x.young[k] >= first {
			delete(x.young, k)
		}
	}
}
