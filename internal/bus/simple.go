package bus

import (
	"errors"
	"fmt"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"miniblog/internal/event"
	"miniblog/internal/wire"
)

// This file is for a bus that is simpler than ours, as the course's is: it keeps
// an array of whatever it was sent, and no log. It reads events that are sent as
// JSON alone, answers that it is OK, and knows neither batches nor sequences.

// mostAfter returns how many publications may go in one request, now that the bus
// has answered so to a single one. A simple bus would take a batch for one strange
// event; one that gives a sequence has a log, and takes batches.
func mostAfter(answer wire.Receipt) int {
	if answer.Sequence == 0 {
		return 1
	}
	return batchEvents
}

// errNoBatches says that a batch was answered with no receipt for it: the bus has
// become a simple one since its last answer.
var errNoBatches = errors.New("the event bus does not know batches")

// sliceEvents is how many events of an array are handed over at once: their
// bytes are not known.
const sliceEvents = 2 << 10

// readArray decodes a simpler bus's JSON array. What is not an event is passed
// over, as the course's bus stores anything.
func (p *Page) readArray(_ <-chan slice, hand func(slice) bool) error {
	d := jsontext.NewDecoder(p.body)
	if t, err := d.ReadToken(); err != nil || t.Kind() != '[' {
		return fmt.Errorf("GET /events answered neither a log nor a JSON array; EVENT_BUS_URL must name an event bus")
	}
	var events []event.Event
	for d.PeekKind() != ']' {
		value, err := d.ReadValue()
		if err != nil {
			return fmt.Errorf("reading the array of events: %w", err)
		}
		var e event.Event
		if json.Unmarshal(value, &e) != nil || e.Type == "" {
			continue
		}
		e.Sequence = 0 // such a bus has no order that outlives it
		events = append(events, e)
		if len(events) == sliceEvents {
			if !hand(slice{events: events}) {
				return nil
			}
			events = nil
		}
	}
	if len(events) > 0 {
		hand(slice{events: events})
	}
	return nil
}
