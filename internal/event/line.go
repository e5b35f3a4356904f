package event

import (
	"bytes"
	"errors"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Line is an event as the log holds it and as the wire carries it, with the
// places of its members, found by one scan (scan.go has the grammar). It cannot
// be changed; the log writes its sequence into a copy.
//
// Three functions make one: NewLine from an Event, TakeLine from a body that
// comes from outside, and ReadLine from the log, where it was checked before.
type Line struct {
	text     []byte
	sequence Sequence
	ends     [memberCount]uint32 // where each member ends, or the one before it if it is missing
	escaped  bool                // a string before the data has a backslash
	opaque   bool                // behind the strings stands what scan does not know
}

var errNameless = errors.New("an event needs an id and a type")

// NewLine writes e as a line. Data and Extensions must be valid JSON; Extensions
// an object without white space around it. It fails if the id or the type is
// missing or a string is not UTF-8.
func NewLine(e *Event) (l Line, err error) {
	if e.ID == "" || e.Type == "" {
		return l, errNameless
	}
	size := lineOverhead + len(e.Extensions) + len(e.Data)
	fields := e.strings()
	for _, value := range fields {
		size += len(*value)
	}
	b := append(make([]byte, 0, size), linePrefix...)
	b = append(e.Sequence.Append(b), '"')
	l.sequence = e.Sequence
	for m, value := range fields {
		if *value != "" {
			name := names[m]
			if b, err = jsontext.AppendQuote(append(b, name[:len(name)-1]...), *value); err != nil {
				return Line{}, err
			}
		}
		l.ends[m] = uint32(len(b))
	}
	if len(e.Extensions) > len(`{}`) {
		b = appendOneLine(append(b, ','), e.Extensions[1:len(e.Extensions)-1])
	}
	if len(e.Data) > 0 {
		b = appendOneLine(append(b, dataName...), e.Data)
	}
	l.text = append(b, '}')
	l.scanExtensions(l.text)
	return l, nil
}

// ReadLine reads a line of the log, which is trusted to have checked it; ok is
// false if text is none. The line points into text.
func ReadLine(text []byte) (l Line, ok bool) {
	l, at, ok := scan(text, false)
	l.text = text
	if ok && !l.opaque {
		ok = text[len(text)-1] == '}' && (at == len(text)-1 || hasPrefix(text[at:], dataName))
	}
	return l, ok
}

// TakeLine takes an event that is a line already, as the blog's services send
// it, off the front of b, into which the line points. b comes from outside: ok
// is true only if decoding the line gives an event that the bus takes as it is,
// and NewLine writes the same bytes again. Another event must be decoded, which
// also says what is wrong with it, and takes four times as long.
func TakeLine(b []byte) (l Line, rest []byte, ok bool) {
	l, at, ok := scan(b, true)
	if !ok || l.opaque || !l.complete(b) {
		return Line{}, b, false
	}
	rest = b[at:]
	if hasPrefix(rest, dataName) {
		if rest, ok = skipData(rest[len(dataName):]); !ok {
			return Line{}, b, false
		}
	}
	if len(rest) == 0 || rest[0] != '}' {
		return Line{}, b, false
	}
	end := len(b) - len(rest) + 1
	l.text = b[:end:end]
	return l, b[end:], true
}

// complete tells whether the strings of a line, which starts b, need neither be
// filled in nor refused.
func (l *Line) complete(b []byte) bool {
	at := uint32(headStart)
	for m, end := range l.ends[:extensions] {
		length := int(end-at) - len(names[m]) - 1
		if end == at && m <= lastRequired || end > at && length == 0 || m <= subject && length > MaxID {
			return false
		}
		at = end
	}
	l.text = b
	_, err := time.Parse(time.RFC3339, string(l.value(timestamp)))
	return err == nil
}

// TypeOf returns the type of a line of the log, nothing if text is none. It
// looks no further than that, and takes a fifth of the time of ReadLine.
func TypeOf(text []byte) []byte {
	var l Line
	if len(text) <= headStart || string(text[:len(linePrefix)]) != linePrefix {
		return nil
	}
	ends := l.ends[:source]
	scanStrings(text, headStart, names[:source], ends, false)
	l.text = text
	l.escaped = bytes.IndexByte(text[headStart:ends[typ]], '\\') >= 0
	return l.Type()
}

// ParseLine decodes a line of the log, which is trusted to have checked it. The
// event's Data points into text, which must not change afterwards.
//
// A projection that catches up decodes a million of them: in nearly all the
// members are cut out as they stand, seven times faster than they are decoded.
func ParseLine(text []byte) (Event, error) {
	if l, ok := ReadLine(text); ok {
		return l.Event()
	}
	return decode(text)
}

func decode(text []byte) (e Event, err error) {
	err = json.Unmarshal(text, &e)
	return e, err
}

// Event decodes the line; what ReadLine trusted may fail here.
func (l Line) Event() (Event, error) {
	if l.escaped || l.opaque {
		return decode(l.text)
	}
	e := Event{SpecVersion: "1.0", Sequence: l.sequence}
	fields := e.strings()
	cut(string(l.text[headStart:l.ends[extensions-1]]), headStart, names[:], l.ends[:], fields[:])
	end := l.ends[extensions]
	if from := l.ends[extensions-1]; from < end {
		e.Extensions = make(jsontext.Value, 0, end-from+1)
		e.Extensions = append(append(append(e.Extensions, '{'), l.text[from+1:end]...), '}')
	}
	if data := int(end) + len(dataName); data < len(l.text) {
		e.Data = l.text[data : len(l.text)-1]
	}
	return e, nil
}

// Text returns the line's bytes, without a line break.
func (l Line) Text() []byte { return l.text }

// Append appends the line with the sequence s to b.
func (l Line) Append(b []byte, s Sequence) []byte {
	b = append(b, linePrefix...)
	return append(s.Append(b), l.text[sequenceEnd:]...)
}

// Sequence returns the line's sequence, 0 if no log has stored it.
func (l Line) Sequence() Sequence { return l.sequence }

// ID returns the event's id. Like its type and its subject, it points into the
// line's text if it can.
func (l Line) ID() []byte { return l.value(id) }

// Type returns the event's type.
func (l Line) Type() []byte { return l.value(typ) }

// Source returns the event's source, "" if it has none. It may point into the line.
func (l Line) Source() []byte { return l.value(source) }

// Time returns the event's time as it is written, "" if it has none.
func (l Line) Time() []byte { return l.value(timestamp) }

// Subject returns the event's subject, nothing if it has none.
func (l Line) Subject() []byte { return l.value(subject) }

// Trace returns the W3C trace context that the event carries, "" if none.
func (l Line) Trace() (parent, state string) {
	return string(l.value(traceparent)), string(l.value(tracestate))
}

// value returns the value of a string.
func (l *Line) value(m int) []byte {
	from, end := uint32(headStart), l.ends[m]
	if m > 0 {
		from = l.ends[m-1]
	}
	if from == end {
		return nil
	}
	from += uint32(len(names[m]))
	if l.escaped {
		text, _ := jsontext.AppendUnquote(nil, l.text[from-1:end])
		return text
	}
	return l.text[from : end-1]
}
