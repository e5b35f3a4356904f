package event

import (
	"bytes"
	"strings"

	"github.com/go-json-experiment/json"
)

// ParseLine decodes a line of AppendLine, from a log that is trusted to have
// checked it: the data is cut out as it stands. The event's Data points into
// line, which must not change afterwards.
//
// A projection that catches up decodes a million of them: where the members
// are in a line's order and nothing is escaped, they are cut out, seven times
// faster than they are decoded.
func ParseLine(line []byte) (Event, error) {
	if e, ok := cutLine(line); ok {
		return e, nil
	}
	var e Event
	err := json.Unmarshal(line, &e)
	return e, err
}

var dataName = []byte(`,"data":`)

// cutLine is ParseLine for lines without extensions and escapes in their head.
func cutLine(line []byte) (e Event, ok bool) {
	end := bytes.Index(line, dataName)
	if end <= sequenceEnd || line[len(line)-1] != '}' ||
		string(line[:len(linePrefix)]) != linePrefix || bytes.IndexByte(line[:end], '\\') >= 0 {
		return e, false
	}
	for _, c := range line[len(linePrefix):sequenceEnd] {
		if c < '0' || c > '9' {
			return e, false
		}
		e.Sequence = e.Sequence*10 + Sequence(c-'0')
	}
	head := string(line[sequenceEnd+1 : end]) // one copy for all members
	for _, m := range [...]struct {
		name  string
		value *string
	}{
		{`,"id":"`, &e.ID}, {`,"type":"`, &e.Type}, {`,"source":"`, &e.Source}, {`,"time":"`, &e.Time}, {`,"subject":"`, &e.Subject},
	} {
		head = cutString(head, m.name, m.value)
	}
	e.SpecVersion = "1.0"
	e.Data = line[end+len(dataName) : len(line)-1]
	return e, head == ""
}

// cutString takes the member called name off the front of head, if it is
// there, and returns the rest.
func cutString(head, name string, value *string) string {
	if len(head) <= len(name) || head[:len(name)] != name {
		return head
	}
	text := head[len(name):]
	end := strings.IndexByte(text, '"')
	if end < 0 {
		return head
	}
	*value = text[:end]
	return text[end+1:]
}
