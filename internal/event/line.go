package event

import (
	"bytes"

	"github.com/go-json-experiment/json/jsontext"
)

// A line is an event as the log holds it and as the wire carries it: JSON
// without a line break, its members always in this order, so that the sequence
// can be put in place and the head be read without decoding.
//
//	{"specversion":"1.0","sequence":"00000000000000000042","id":"…","type":"…",
//	 "source":"…","time":"…","subject":"…",<extensions>,"data":…}
const (
	linePrefix  = `{"specversion":"1.0","sequence":"`
	sequenceEnd = len(linePrefix) + SequenceDigits
)

// AppendLine appends e as a line to b. Data and Extensions must be valid JSON;
// Extensions an object without white space around it. Strings must be valid
// UTF-8, or the error says which is not.
func AppendLine(b []byte, e *Event) ([]byte, error) {
	b = append(b, linePrefix...)
	b = e.Sequence.Append(b)
	b = append(b, '"')
	var err error
	for _, m := range [...]struct{ name, value string }{
		{`,"id":`, e.ID}, {`,"type":`, e.Type}, {`,"source":`, e.Source}, {`,"time":`, e.Time}, {`,"subject":`, e.Subject},
	} {
		if m.value == "" {
			continue
		}
		b = append(b, m.name...)
		if b, err = jsontext.AppendQuote(b, m.value); err != nil {
			return b, err
		}
	}
	if len(e.Extensions) > len(`{}`) {
		b = appendOneLine(append(b, ','), e.Extensions[1:len(e.Extensions)-1])
	}
	if len(e.Data) > 0 {
		b = appendOneLine(append(b, dataName...), e.Data)
	}
	return append(b, '}'), nil
}

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

// PutSequence writes s into a line of AppendLine.
func PutSequence(line []byte, s Sequence) {
	s.Append(line[len(linePrefix):len(linePrefix)])
}

// ReadID reads the id of a line of AppendLine; ok is false if it is not one.
func ReadID(line []byte) (id []byte, ok bool) {
	if len(line) < sequenceEnd+1 || string(line[:len(linePrefix)]) != linePrefix {
		return nil, false
	}
	id, _, ok = cutMember(line[sequenceEnd+1:], `,"id":`)
	return id, ok
}

// Head is what the bus needs to know of a line. Its slices point into it.
type Head struct {
	Sequence          Sequence
	ID, Type, Subject []byte
}

// ReadHead reads the head of a line of AppendLine; ok is false if it is not one.
func ReadHead(line []byte) (h Head, ok bool) {
	if len(line) < sequenceEnd+1 || string(line[:len(linePrefix)]) != linePrefix {
		return h, false
	}
	for _, c := range line[len(linePrefix):sequenceEnd] {
		if c < '0' || c > '9' {
			return h, false
		}
		h.Sequence = h.Sequence*10 + Sequence(c-'0')
	}
	rest := line[sequenceEnd+1:]
	if h.ID, rest, ok = cutMember(rest, `,"id":`); !ok {
		return h, false
	}
	if h.Type, rest, ok = cutMember(rest, `,"type":`); !ok {
		return h, false
	}
	for _, name := range [...]string{`,"source":`, `,"time":`} {
		if _, after, found := cutMember(rest, name); found {
			rest = after
		}
	}
	h.Subject, _, _ = cutMember(rest, `,"subject":`)
	return h, true
}

// cutMember takes one string member off the front of b.
func cutMember(b []byte, name string) (value, rest []byte, ok bool) {
	if len(b) <= len(name) || string(b[:len(name)]) != name || b[len(name)] != '"' {
		return nil, b, false
	}
	text := b[len(name):]
	end := 1
	for {
		i := bytes.IndexByte(text[end:], '"')
		if i < 0 {
			return nil, b, false
		}
		end += i + 1
		if !escaped(text[:end-1]) {
			break
		}
	}
	text, rest = text[:end], text[end:]
	if bytes.IndexByte(text, '\\') < 0 {
		return text[1 : end-1], rest, true
	}
	value, err := jsontext.AppendUnquote(nil, text)
	return value, rest, err == nil
}

// escaped tells whether b ends in an odd number of backslashes.
func escaped(b []byte) bool {
	n := len(b) - len(bytes.TrimRight(b, `\`))
	return n%2 == 1
}
