// Package wire declares what the event bus and its clients say to each other:
// media types, headers, parameters, receipts, and the limits that both know.
//
// Its law: what both sides must spell alike is spelled here, once.
package wire

import (
	"time"

	"miniblog/internal/event"
)

// Media types of events. JSON is also how the course's services send one
// event; Event and Batch are those of CloudEvents (JSON event format 1.0,
// sections 3 and 4).
const (
	JSON   = "application/json"
	Event  = "application/cloudevents+json"
	Batch  = "application/cloudevents-batch+json"
	Lines  = "application/x-ndjson"
	Stream = "text/event-stream"
)

// Headers of an answer to GET /events.
const (
	// LogHeader is the id of the log. The course's bus does not send it.
	LogHeader = "Event-Log"
	// LastHeader is the last sequence of the log when the bus answered.
	LastHeader = "Event-Sequence-Last"
	// FollowHeader is the parameter Follow, on an answer that stays open. A bus
	// that does not know the parameter does not send it.
	FollowHeader = "Event-Follow"
)

// Parameters of GET /events.
const (
	// After asks for the events after this sequence.
	After = "after"
	// AfterID is the id of the event at After, as the reader knows it. If the
	// log's own event there has another id, or the log ends before After, the
	// bus answers 409: the reader knows another history and must start again
	// from 0. It is ignored if After is 0 or missing.
	AfterID = "after-id"
	// Limit is how many events to send at most.
	Limit = "limit"
	// Types is a list of event types, separated by commas.
	Types = "type"
	// Wait is how long to wait when there is nothing to send, as Go writes a
	// duration; MaxWait at most.
	Wait = "wait"
	// Follow asks for an answer in Lines that stays open: events as they become
	// durable, and a Mark at least this often, as Go writes a duration, from
	// MinFollow to MaxWait. The answer ends where what comes next is not in the
	// bus's memory any more: fetch it, and then follow again.
	Follow = "follow"
)

// Mark is a line of an answer that stays open which is no event: all events up
// to Passed were sent, or are of types that were not asked for. It also says
// that the bus is alive.
type Mark struct {
	Passed event.Sequence `json:"passed"`
	// ID is the id of the event at Passed. It is left out where that is where the
	// reader began.
	ID string `json:"id,omitzero"`
}

// MarkPrefix is how each Mark begins, and no event does.
const MarkPrefix = `{"passed":`

// Limits of a request.
const (
	MaxEvent       = 1 << 20  // bytes of one event, with its envelope
	MaxBatch       = 16 << 20 // bytes of a batch
	MaxBatchEvents = 50_000
	MaxWait        = time.Minute
	MinFollow      = 10 * time.Millisecond
)

// Receipt answers the publisher of one event: it is on disk.
type Receipt struct {
	Status    string         `json:"status"`
	ID        string         `json:"id"`
	Sequence  event.Sequence `json:"sequence"`
	Duplicate bool           `json:"duplicate,omitzero"` // the id was stored before; Sequence is the first one's
}

// BatchReceipt answers the publisher of a batch: all of it is on disk.
// Sequences and Duplicates are set only if an id was stored before; then the
// events are not contiguous, and each one's place is said.
type BatchReceipt struct {
	Status     string           `json:"status"`
	First      event.Sequence   `json:"first"`
	Last       event.Sequence   `json:"last"`
	Sequences  []event.Sequence `json:"sequences,omitzero"`
	Duplicates []bool           `json:"duplicates,omitzero"`
}
