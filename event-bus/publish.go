package main

import (
	"errors"
	"mime"
	"net/http"
	"sync"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"miniblog/event-bus/eventlog"
	"miniblog/internal/event"
	"miniblog/internal/web"
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
		line, err := appendLine(nil, &e)
		if err != nil {
			return err
		}
		return b.storeOne(w, r, line)
	}
	body, _, err := web.ReadBody(w, r, web.MaxBody, plainJSON, structured, batched)
	if err != nil {
		return err
	}
	if kind := jsontext.Value(body).Kind(); kind == '[' {
		return web.NewProblem(http.StatusBadRequest, "The body is an array: send a batch with the header \"Content-Type: %s\".", batched)
	}
	line, err := readLine(body)
	if err != nil {
		return err
	}
	return b.storeOne(w, r, line)
}

func (b *bus) storeOne(w http.ResponseWriter, r *http.Request, line []byte) error {
	positions, err := b.log.Append(r.Context(), [][]byte{line})
	if err != nil {
		return refused(err)
	}
	id, _ := event.ReadID(line)
	return web.WriteJSON(w, http.StatusOK, receipt{"OK", string(id), positions[0].Sequence, positions[0].Duplicate})
}

// publishBatch stores an array of events, all or none.
func (b *bus) publishBatch(w http.ResponseWriter, r *http.Request) error {
	if weight := r.ContentLength; weight < 0 || weight > web.MaxBody { // up to there it is a body like any other
		if weight < 0 || weight > maxBatch {
			weight = maxBatch
		}
		if err := b.batchMemory.Acquire(r.Context(), weight); err != nil {
			return err
		}
		defer b.batchMemory.Release(weight)
	}
	buf := batchBodies.Get().(*[]byte)
	body, _, err := web.ReadBodyInto(*buf, w, r, maxBatch, batched)
	if err != nil {
		return err
	}
	lines, err := readLines(body)
	if err != nil {
		return err
	}
	positions, err := b.log.Append(r.Context(), lines)
	if err != nil {
		return refused(err)
	}
	*buf = body
	batchBodies.Put(buf) // and not after an error: the log may still look at it
	return web.WriteJSON(w, http.StatusOK, batchAnswer(positions))
}

// batchBodies hold the bodies of batches: half a megabyte that need not be
// cleared and collected each time.
var batchBodies = sync.Pool{New: func() any { return new([]byte) }}

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
	var p *web.Problem
	switch {
	case errors.Is(err, eventlog.ErrFull):
		p = web.NewProblem(http.StatusInsufficientStorage, "The disk of the event bus is full. Make room, then send the event again.")
	case errors.Is(err, eventlog.ErrReadOnly):
		p = web.NewProblem(http.StatusServiceUnavailable, "The event bus takes no events until it is started again; its log says why. Reading goes on.")
	default:
		return err
	}
	p.RetryAfter, p.Cause = time.Second, err
	return p
}
