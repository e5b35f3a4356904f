package push

import (
	"bytes"
	"fmt"
	"slices"

	"miniblog/event-bus/eventlog"
	"miniblog/internal/event"
)

// taken is an event that was delivered, and its lane.
type taken struct {
	sequence event.Sequence
	key      string
}

// takenSubjects is of how many subjects the event that was delivered last is
// remembered: more than are tried at once.
const takenSubjects = 2 * lanesAtOnce

// noteDelivered remembers del as one that can be sent once more.
func (d *dispatcher) noteDelivered(del *delivery) {
	d.position.LastDelivered = del.sequence
	d.taken = slices.DeleteFunc(d.taken, func(t taken) bool { return t.key == del.lane.key })
	d.taken = append(d.taken, taken{del.sequence, del.lane.key})
	d.taken = d.taken[max(0, len(d.taken)-takenSubjects):]
}

// lastDelivered returns an event that was delivered lately, nil if there is
// none: of a subject where nothing newer was tried, if there is such a one, so
// that it looks as if its answer had been lost. Where all events have one
// subject, it comes again after a newer one that was not taken.
func (d *dispatcher) lastDelivered() *delivery {
	sequence := d.position.LastDelivered
	for _, t := range slices.Backward(d.taken) {
		if l := d.window.lanes[t.key]; l == nil || l.queue[0].deliveredBefore == untried {
			sequence = t.sequence
			break
		}
	}
	if sequence == 0 {
		return nil
	}
	if text, err := lineAt(d.config.Log.Reader, sequence); err == nil {
		if line, ok := event.ReadLine(text); ok && d.sub.wants(string(line.Type())) {
			return &delivery{sequence: line.Sequence(), id: string(line.ID()), line: text, check: true}
		}
	}
	d.position.LastDelivered, d.taken = 0, nil
	return nil
}

// readFunc begins to read a log after an event: its method Reader.
type readFunc func(after event.Sequence) *eventlog.Reader

// lineAt returns the line of the log with a sequence.
func lineAt(read readFunc, q event.Sequence) ([]byte, error) {
	reader := read(q - 1)
	defer reader.Close()
	b, err := reader.Next()
	if err != nil {
		return nil, err
	}
	for text := range b.Lines() {
		if line, ok := event.ReadLine(text); ok && line.Sequence() == q {
			return bytes.Clone(text), nil
		}
		break
	}
	return nil, fmt.Errorf("event %d is not in the log", q)
}
