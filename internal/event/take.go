package event

import (
	"bytes"
	"strconv"
	"sync"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// TakeLine takes an event that is a line already, as the blog's services send
// it, off the front of b. b comes from outside: whatever AppendLine would make
// otherwise, or the bus would fill in or refuse, is no line, and ok is false.
// Such an event must be decoded, which also says what is wrong with it.
//
// Decoding an event and writing it again takes four times as long.
func TakeLine(b []byte) (line, rest []byte, ok bool) {
	if len(b) <= sequenceEnd || string(b[:len(linePrefix)]) != linePrefix || b[sequenceEnd] != '"' {
		return nil, b, false
	}
	if _, err := strconv.ParseUint(string(b[len(linePrefix):sequenceEnd]), 10, 64); err != nil {
		return nil, b, false
	}
	rest = b[sequenceEnd+1:]
	for _, m := range [...]struct {
		name     string
		required bool
	}{{`,"id":"`, true}, {`,"type":"`, true}, {`,"source":"`, true}, {`,"time":"`, true}, {`,"subject":"`, false}} {
		if len(rest) <= len(m.name) || string(rest[:len(m.name)]) != m.name {
			if m.required {
				return nil, b, false
			}
			continue
		}
		rest = rest[len(m.name):]
		length := plain(rest)
		if length == 0 || length > MaxID || length == len(rest) || rest[length] != '"' {
			return nil, b, false
		}
		if m.name == `,"time":"` {
			if _, err := time.Parse(time.RFC3339, string(rest[:length])); err != nil {
				return nil, b, false
			}
		}
		rest = rest[length+1:]
	}
	if bytes.HasPrefix(rest, dataName) {
		if rest, ok = skipData(rest[len(dataName):]); !ok {
			return nil, b, false
		}
	}
	if len(rest) == 0 || rest[0] != '}' {
		return nil, b, false
	}
	end := len(b) - len(rest) + 1
	return b[:end:end], b[end:], true
}

// plain returns how many bytes at the front of b are characters of ASCII that
// stand within a JSON string as they are.
func plain(b []byte) int {
	for i, c := range b {
		if c < ' ' || c == '"' || c == '\\' || c > '~' {
			return i
		}
	}
	return len(b)
}

// skipData skips a JSON value without line breaks at the front of b.
func skipData(b []byte) (rest []byte, ok bool) {
	s := skippers.Get().(*skipper)
	defer skippers.Put(s)
	s.buffer = *bytes.NewBuffer(b)
	s.decoder.Reset(&s.buffer)
	value, err := s.decoder.ReadValue()
	if err != nil || int(s.decoder.InputOffset()) != len(value) || bytes.IndexByte(value, '\n') >= 0 || bytes.IndexByte(value, '\r') >= 0 {
		return nil, false
	}
	return b[len(value):], true
}

// skipper checks JSON values; one at a time.
type skipper struct {
	buffer  bytes.Buffer
	decoder jsontext.Decoder
}

var skippers = sync.Pool{New: func() any { return new(skipper) }}
