package event

import "crypto/sha256"

// Key stands for an id of any length where many are remembered: it takes 16 bytes,
// and holds no pointer. Two ids with one key would take breaking SHA-256 cut to 128
// bits.
type Key [16]byte

// KeyOf returns the key of an id.
func KeyOf[T string | []byte](id T) Key {
	var short [64]byte // so that most ids need no other memory
	sum := sha256.Sum256(append(short[:0], id...))
	return Key(sum[:16])
}
