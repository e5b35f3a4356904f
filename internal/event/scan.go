package event

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"sync"

	"github.com/go-json-experiment/json/jsontext"
)

// The grammar of a line, in one piece, without a line break and without white
// space between its members. Their order is always this, so that the head is
// found without decoding and the sequence has its place:
//
//	line      = `{"specversion":"1.0","sequence":"` 20 digits `"`
//	            `,"id":` string `,"type":` string
//	            [ `,"source":` string ] [ `,"time":` string ] [ `,"subject":` string ]
//	            [ `,"traceparent":` string ] [ `,"tracestate":` string ]
//	            { `,` extension } [ `,"data":` value ] `}`
//	extension = string `:` value      (any name that is not above, each once)
//
// string and value are JSON's. Strings that are there are not empty.
//
// A scan finds where each member ends. It knows only extensions that are strings
// of plain ASCII, as nearly all are; with another one the line is opaque, and its
// extensions and data are found by decoding it whole (decode.go).
const (
	linePrefix   = `{"specversion":"1.0","sequence":"`
	sequenceEnd  = len(linePrefix) + SequenceDigits
	headStart    = sequenceEnd + 1
	lineOverhead = headStart + 100 // about what a line has beside its values
	dataName     = `,"data":`
	maxLine      = 1 << 30 // and so a place has 32 bits
)

// The members of a line whose ends a scan finds: strings, and then all
// extensions together.
const (
	id = iota
	typ
	source
	timestamp
	subject
	traceparent
	tracestate
	extensions
	memberCount

	lastRequired = timestamp // of an event that the bus need not complete
)

// names are the strings' names, with what stands around them.
var names = [extensions]string{
	id: `,"id":"`, typ: `,"type":"`, source: `,"source":"`, timestamp: `,"time":"`, subject: `,"subject":"`,
	traceparent: `,"traceparent":"`, tracestate: `,"tracestate":"`,
}

// strings returns the fields of e for a line's strings.
func (e *Event) strings() [extensions]*string {
	return [extensions]*string{
		id: &e.ID, typ: &e.Type, source: &e.Source, timestamp: &e.Time, subject: &e.Subject,
		traceparent: &e.Traceparent, tracestate: &e.Tracestate,
	}
}

// scan finds the members of a line at the front of b, up to its data or its
// end, which is at. A strict scan takes only strings of plain ASCII.
func scan(b []byte, strict bool) (l Line, at int, ok bool) {
	if len(b) <= headStart || len(b) > maxLine || string(b[:len(linePrefix)]) != linePrefix || b[sequenceEnd] != '"' {
		return l, 0, false
	}
	if l.sequence, ok = digits(b[len(linePrefix):sequenceEnd]); !ok {
		return l, 0, false
	}
	scanStrings(b, headStart, names[:], l.ends[:], strict)
	if l.ends[id] == uint32(headStart) || l.ends[typ] == l.ends[id] {
		return l, 0, false
	}
	at = l.scanExtensions(b)
	return l, at, true
}

// scanStrings finds the members with the given names, which stand in this order
// from at on: ends says where each ends, or the one before it if it is missing.
func scanStrings(b []byte, at int, names []string, ends []uint32, strict bool) {
	for m, name := range names {
		if hasPrefix(b[at:], name) {
			text := b[at+len(name):]
			length := 0
			if strict {
				length = plain(text)
			} else {
				length = quoted(text)
			}
			if length < len(text) && text[length] == '"' {
				at += len(name) + length + 1
			}
		}
		ends[m] = uint32(at)
	}
}

// cut puts the strings that scanStrings found into fields. text holds all of
// them, from at on.
func cut(text string, at int, names []string, ends []uint32, fields []*string) {
	start := at
	for m, field := range fields {
		if end := int(ends[m]); end > at {
			*field = text[at-start+len(names[m]) : end-start-1]
			at = end
		}
	}
}

// scanExtensions finds the end of the extensions of a line, which starts b, and
// whether anything before it is escaped.
func (l *Line) scanExtensions(b []byte) (at int) {
	start := int(l.ends[tracestate])
	l.escaped = bytes.IndexByte(b[headStart:start], '\\') >= 0
	for at = start; at < len(b) && b[at] == ',' && !hasPrefix(b[at:], dataName); {
		name, end := extension(b[at:])
		if end == 0 || known(name) || bytes.Contains(b[start:at], b[at:at+len(name)+len(`,"":`)]) {
			l.opaque = true
			break
		}
		at += end
	}
	l.ends[extensions] = uint32(at)
	return at
}

// extension returns the name of the extension at the front of b, behind its
// comma, and its end, which is 0 if it is not a string of plain ASCII.
func extension(b []byte) (name []byte, end int) {
	if len(b) < 2 || b[1] != '"' {
		return nil, 0
	}
	name = b[2 : 2+plain(b[2:])]
	value := 2 + len(name) + len(`":"`)
	if len(b) < value || string(b[value-3:value]) != `":"` {
		return nil, 0
	}
	end = value + plain(b[value:])
	if end == len(b) || b[end] != '"' {
		return nil, 0
	}
	return name, end + 1
}

// known tells whether a member is none of the extensions.
func known(name []byte) bool {
	switch string(name) {
	case "specversion", "sequence", "id", "type", "source", "time", "subject", "traceparent", "tracestate", "data":
		return true
	}
	return false
}

// plain returns how many bytes at the front of b are characters of ASCII that
// stand within a JSON string as they are.
func plain(b []byte) int {
	at := 0
	for ; len(b)-at >= 8; at += 8 {
		if odd := notPlain(binary.LittleEndian.Uint64(b[at:])); odd != 0 {
			return at + bits.TrailingZeros64(odd)/8
		}
	}
	for ; at < len(b); at++ {
		if c := b[at]; c < ' ' || c == '"' || c == '\\' || c > '~' {
			break
		}
	}
	return at
}

// notPlain sets the highest bit of the first byte of eight that plain does not
// take; of those behind it, it may set some that are plain.
func notPlain(eight uint64) uint64 {
	const each = 0x0101010101010101
	// A byte borrows at its highest bit where it is less than what is subtracted.
	less := func(x, than uint64) uint64 { return (x - than*each) &^ x }
	return (eight | less(eight, ' ') | less(eight^'"'*each, 1) | less(eight^'\\'*each, 1) | less(eight^0x7F*each, 1)) & (0x80 * each)
}

// quoted returns how many bytes of b come before the quote that ends a JSON
// string.
func quoted(b []byte) int {
	for at := 0; ; at++ {
		i := bytes.IndexByte(b[at:], '"')
		if i < 0 {
			return len(b)
		}
		at += i
		if at == 0 || b[at-1] != '\\' {
			return at
		}
		if backslashes := at - len(bytes.TrimRight(b[:at], `\`)); backslashes%2 == 0 {
			return at
		}
	}
}

func hasPrefix(b []byte, prefix string) bool {
	return len(b) >= len(prefix) && string(b[:len(prefix)]) == prefix
}

// skipData skips a JSON value without line breaks at the front of b.
func skipData(b []byte) (rest []byte, ok bool) {
	if end := flat(b); end > 0 {
		return b[end:], true
	}
	s := skippers.Get().(*skipper)
	defer skippers.Put(s)
	s.buffer = *bytes.NewBuffer(b)
	s.decoder.Reset(&s.buffer)
	value, err := s.decoder.ReadValue()
	if err != nil || int(s.decoder.InputOffset()) != len(value) || bytes.IndexByte(value, '\n') >= 0 || bytes.IndexByte(value, '\r') >= 0 || deeper(value, MaxDepth-1) {
		return nil, false
	}
	return b[len(value):], true
}

// flat returns the length of the object at the front of b if it is like the data
// of the blog's own events, without white space, its values and its few different
// names strings of plain ASCII; else 0. To check it so takes a third of the time.
func flat(b []byte) (length int) {
	var names [4][]byte
	at := 0
	for n := range names {
		if at+1 >= len(b) || b[at] != "{,,,"[n] || b[at+1] != '"' {
			return 0
		}
		name := b[at+2:]
		name = name[:plain(name)]
		for _, other := range names[:n] {
			if string(name) == string(other) {
				return 0
			}
		}
		names[n] = name
		at += 2 + len(name)
		if !hasPrefix(b[at:], `":"`) {
			return 0
		}
		at += len(`":"`)
		at += plain(b[at:])
		if at+1 >= len(b) || b[at] != '"' {
			return 0
		}
		if at++; b[at] == '}' {
			return at + 1
		}
	}
	return 0
}

// deeper tells whether valid JSON has more than the given levels.
func deeper(value []byte, levels int) bool {
	if bytes.Count(value, []byte{'['})+bytes.Count(value, []byte{'{'}) <= levels {
		return false
	}
	depth := 0
	for i := 0; i < len(value); i++ {
		switch value[i] {
		case '"':
			i += 1 + quoted(value[i+1:])
		case '[', '{':
			if depth++; depth > levels {
				return true
			}
		case ']', '}':
			depth--
		}
	}
	return false
}

// skipper checks JSON values; one at a time.
type skipper struct {
	buffer  bytes.Buffer
	decoder jsontext.Decoder
}

var skippers = sync.Pool{New: func() any { return new(skipper) }}

// appendOneLine appends JSON without its line breaks, of which server-sent
// events know two: where JSON has any they are white space, for within a string
// they are escaped.
func appendOneLine(b []byte, value jsontext.Value) []byte {
	start := len(b)
	b = append(b, value...)
	for _, end := range [...]byte{'\n', '\r'} {
		for line := b[start:]; ; {
			i := bytes.IndexByte(line, end)
			if i < 0 {
				break
			}
			line[i] = ' '
			line = line[i+1:]
		}
	}
	return b
}
