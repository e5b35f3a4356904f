package main

import (
	"errors"
	"fmt"
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"miniblog/event-bus/eventlog"
	"miniblog/internal/event"
	"miniblog/internal/service"
)

// The media types of an event, the course's own and CloudEvents' (JSON event
// format 1.0, sections 3 and 4).
const (
	plainJSON  = "application/json"
	structured = "application/cloudevents+json"
	batched    = "application/cloudevents-batch+json"
)

// What a batch may hold at most, and all large batches that are being read
// together.
const (
	maxBatch    = 16 << 20 // bytes
	maxEvents   = 50_000
	batchMemory = 4 * maxBatch
)

// receipt answers who published one event.
type receipt struct {
	Status    string         `json:"status"`
	ID        string         `json:"id"`
	Sequence  event.Sequence `json:"sequence"`
	Duplicate bool           `json:"duplicate,omitzero"`
}

// batchReceipt answers who published a batch. Where an id was stored before,
// the events are not contiguous, and each one's place is said.
type batchReceipt struct {
	Status     string           `json:"status"`
	First      event.Sequence   `json:"first"`
	Last       event.Sequence   `json:"last"`
	Sequences  []event.Sequence `json:"sequences,omitzero"`
	Duplicates []bool           `json:"duplicates,omitzero"`
}

// publish stores what it is sent and answers when that is on disk.
func (b *bus) publish(w http.ResponseWriter, r *http.Request) error {
	mediaType, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch {
	case mediaType == batched:
		return b.publishBatch(w, r)
	case mediaType != structured && isBinary(r.Header):
		e, err := readBinary(w, r)
		if err != nil {
			return err
		}
		return b.storeOne(w, r, e)
	}
	body, _, err := service.ReadBody(w, r, service.MaxBody, plainJSON, structured, batched)
	if err != nil {
		return err
	}
	if kind := jsontext.Value(body).Kind(); kind == '[' {
		return service.NewProblem(http.StatusBadRequest, "The body is an array: send a batch with the header \"Content-Type: %s\".", batched)
	}
	var e event.Event
	if err := service.DecodeJSON(body, &e); err != nil {
		return err
	}
	return b.storeOne(w, r, e)
}

func (b *bus) storeOne(w http.ResponseWriter, r *http.Request, e event.Event) error {
	_, record, err := prepare(make([]byte, 0, envelope+len(e.Data)+len(e.Extensions)), &e)
	if err != nil {
		return err
	}
	positions, err := b.log.Append(r.Context(), []eventlog.Record{record})
	if err != nil {
		return refused(err)
	}
	p := positions[0]
	return service.WriteJSON(w, http.StatusOK, receipt{"OK", e.ID, p.Sequence, p.Duplicate})
}

// publishBatch stores an array of events, all or none.
func (b *bus) publishBatch(w http.ResponseWriter, r *http.Request) error {
	if weight := r.ContentLength; weight < 0 || weight > service.MaxBody { // up to there it is a body like any other
		if weight < 0 || weight > maxBatch {
			weight = maxBatch
		}
		if err := b.batchMemory.Acquire(r.Context(), weight); err != nil {
			return err
		}
		defer b.batchMemory.Release(weight)
	}
	body, _, err := service.ReadBody(w, r, maxBatch, batched)
	if err != nil {
		return err
	}
	var events batch
	if err := service.DecodeJSON(body, &events); err != nil {
		return err
	}
	if len(events) == 0 {
		return service.NewProblem(http.StatusUnprocessableEntity, "The batch is empty: send at least one event.")
	}
	records := make([]eventlog.Record, len(events))
	lines := make([]byte, 0, len(body)+envelope*len(events)) // of all records, one behind the other
	for i := range events {
		if lines, records[i], err = prepare(lines, &events[i]); err != nil {
			return at(i, err)
		}
	}
	positions, err := b.log.Append(r.Context(), records)
	if err != nil {
		return refused(err)
	}
	return service.WriteJSON(w, http.StatusOK, batchAnswer(positions))
}

// batch is an array of events that ends before it takes all memory: 16 MiB can
// hold millions of something.
type batch []event.Event

// UnmarshalJSONFrom implements json.UnmarshalerFrom.
func (b *batch) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	if dec.PeekKind() != '[' {
		if err := dec.SkipValue(); err != nil {
			return err
		}
		return service.NewProblem(http.StatusBadRequest, "The body must be a JSON array of events.")
	}
	if _, err := dec.ReadToken(); err != nil {
		return err
	}
	for dec.PeekKind() != ']' {
		if len(*b) == maxEvents {
			return service.NewProblem(http.StatusRequestEntityTooLarge, "The batch has more than %d events: send it in parts.", maxEvents)
		}
		*b = append(*b, event.Event{})
		if err := (*b)[len(*b)-1].UnmarshalJSONFrom(dec); err != nil {
			return err
		}
	}
	_, err := dec.ReadToken()
	return err
}

func batchAnswer(positions []eventlog.Position) batchReceipt {
	answer := batchReceipt{Status: "OK", First: positions[0].Sequence, Last: positions[len(positions)-1].Sequence}
	for _, p := range positions {
		if p.Duplicate {
			for _, p := range positions {
				answer.Sequences = append(answer.Sequences, p.Sequence)
				answer.Duplicates = append(answer.Duplicates, p.Duplicate)
			}
			break
		}
	}
	return answer
}

// refused says why the log did not take an event.
func refused(err error) error {
	var p *service.Problem
	switch {
	case errors.Is(err, eventlog.ErrFull):
		p = service.NewProblem(http.StatusInsufficientStorage, "The disk of the event bus is full. Make room, then send the event again.")
	case errors.Is(err, eventlog.ErrReadOnly):
		p = service.NewProblem(http.StatusServiceUnavailable, "The event bus takes no events until it is started again; its log says why. Reading goes on.")
	default:
		return err
	}
	p.RetryAfter, p.Cause = time.Second, err
	return p
}

// envelope is about how long a line is without its data, in bytes.
const envelope = 224

// prepare checks e, fills in what is missing, and appends it as a line to
// lines. Its errors are problems.
func prepare(lines []byte, e *event.Event) ([]byte, eventlog.Record, error) {
	if err := complete(e); err != nil {
		return lines, eventlog.Record{}, err
	}
	start := len(lines)
	lines, err := event.AppendLine(lines, e)
	if size := len(lines) - start; err == nil && size > service.MaxBody { // no subscriber would take it
		err = service.NewProblem(http.StatusRequestEntityTooLarge, "The event is too large: with its envelope it has %d bytes, and at most %d are allowed.", size, service.MaxBody)
	}
	return lines, eventlog.Record{ID: e.ID, Line: lines[start:len(lines):len(lines)]}, err
}

// at says which event of a batch has a problem.
func at(i int, err error) error {
	var p *service.Problem
	if errors.As(err, &p) {
		p.Field = strings.TrimSuffix(fmt.Sprintf("%d/%s", i, p.Field), "/")
	}
	return err
}

// complete checks e and fills in what is missing. Its errors are problems.
func complete(e *event.Event) error {
	if e.SpecVersion == "" {
		e.SpecVersion = "1.0"
	}
	if e.SpecVersion != "1.0" {
		return service.Invalid("specversion", "The specversion must be 1.0, the version of CloudEvents that is spoken here.")
	}
	if e.Type == "" {
		return service.Invalid("type", "The type is missing: say what happened, such as PostCreated.")
	}
	if e.ID == "" {
		e.ID = event.NewID()
	}
	if e.Source == "" {
		e.Source = "/event-bus"
	}
	if e.Time == "" {
		e.Time = time.Now().UTC().Format(time.RFC3339Nano)
	} else if _, err := time.Parse(time.RFC3339, e.Time); err != nil {
		return service.Invalid("time", "The time must be written as RFC 3339 has it, such as %s.", time.Now().UTC().Format(time.RFC3339))
	}
	for _, f := range [...]struct{ name, value string }{{"id", e.ID}, {"type", e.Type}, {"source", e.Source}, {"subject", e.Subject}} {
		if len(f.value) > event.MaxID {
			return service.Invalid(f.name, "The %s is too long: it has %d bytes, and at most %d are allowed.", f.name, len(f.value), event.MaxID)
		}
		if strings.IndexByte(f.value, 0) >= 0 {
			return service.Invalid(f.name, "The %s contains a NUL character, which is not allowed.", f.name)
		}
	}
	e.Sequence = 0 // the log's to give
	return nil
}
