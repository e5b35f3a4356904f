package event

import (
	"fmt"
	"math"
)

// Sequence is a position in the log, dense from 1. On the wire it is written
// as the CloudEvents sequence extension has it: a decimal string that sorts,
// of 20 digits.
type Sequence uint64

// SequenceDigits is the length of a sequence on the wire.
const SequenceDigits = 20

// String returns the 20 digits.
func (s Sequence) String() string { return string(s.Append(nil)) }

// Append appends the 20 digits to b.
func (s Sequence) Append(b []byte) []byte {
	start := len(b)
	b = append(b, "00000000000000000000"...)
	for i := len(b) - 1; i >= start && s > 0; i-- {
		b[i] = '0' + byte(s%10)
		s /= 10
	}
	return b
}

// ParseSequence reads a sequence with or without its leading zeros.
func ParseSequence(text string) (Sequence, error) {
	s, ok := digits(text)
	if !ok {
		return 0, fmt.Errorf("%.40q is not a sequence: it must be a whole number, such as 42", text)
	}
	return s, nil
}

// digits reads the digits of a sequence; ok is false if they are none, or more
// than it can be.
func digits[T string | []byte](text T) (s Sequence, ok bool) {
	for i := range len(text) {
		digit := Sequence(text[i] - '0')
		next := s*10 + digit
		if digit > 9 || s > math.MaxUint64/10 || next < digit {
			return 0, false
		}
		s = next
	}
	return s, len(text) > 0 && len(text) <= SequenceDigits
}

// MarshalText implements encoding.TextMarshaler.
func (s Sequence) MarshalText() ([]byte, error) { return s.Append(nil), nil }

// UnmarshalText implements encoding.TextUnmarshaler. An empty text is zero.
func (s *Sequence) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*s = 0
		return nil
	}
	n, err := ParseSequence(string(text))
	if err != nil {
		return err
	}
	*s = n
	return nil
}
