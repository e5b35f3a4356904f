package api

import (
	"context"
	"errors"
	"mime"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"miniblog/event-bus/eventlog"
	"miniblog/internal/event"
	"miniblog/internal/trace"
	"miniblog/internal/web"
	"miniblog/internal/wire"
)

// publish stores what it is sent and answers when that is on disk.
func (a *API) publish(w http.ResponseWriter, r *http.Request) error {
	arrived := time.Now()
	mediaType, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch {
	case mediaType == wire.Batch:
		return a.publishBatch(w, r, arrived)
	case mediaType != wire.Event && isBinary(r.Header):
		e, err := readBinary(w, r)
		if err != nil {
			return err
		}
		line, err := newLine(&e)
		if err != nil {
			return err
		}
		return a.storeOne(w, r, line, arrived)
	}
	body, _, err := web.ReadBody(w, r, web.MaxBody, wire.JSON, wire.Event, wire.Batch)
	if err != nil {
		return err
	}
	if kind := jsontext.Value(body).Kind(); kind == '[' {
		return web.NewProblem(http.StatusBadRequest, "The body is an array: send a batch with the header \"Content-Type: %s\".", wire.Batch)
	}
	line, err := readLine(body)
	if err != nil {
		return err
	}
	return a.storeOne(w, r, line, arrived)
}

func (a *API) storeOne(w http.ResponseWriter, r *http.Request, line event.Line, arrived time.Time) error {
	if err := a.allowed(line); err != nil {
		return err
	}
	positions, err := a.append(r, []event.Line{line}, arrived)
	if err != nil {
		return err
	}
	return web.WriteJSON(w, http.StatusOK, wire.Receipt{Status: "OK", ID: string(line.ID()), Sequence: positions[0].Sequence, Duplicate: positions[0].Duplicate})
}

// allowed refuses an event of a type that is taken from replies alone.
func (a *API) allowed(line event.Line) error {
	if len(a.replyOnly) == 0 || !slices.Contains(a.replyOnly, string(line.Type())) {
		return nil
	}
	p := web.NewProblem(http.StatusForbidden, "Events of the type %q are taken only as the replies of subscribers.", line.Type())
	p.Field = "type"
	return p
}

// append stores the events of a request that arrived at a time. Its errors are problems.
func (a *API) append(r *http.Request, lines []event.Line, arrived time.Time) ([]eventlog.Position, error) {
	positions, err := appendTo(r.Context(), a.log, lines)
	if err != nil {
		return nil, refused(err)
	}
	a.activity.Stored(positions, arrived, r)
	return positions, nil
}

// appendTo appends lines to log.
func appendTo(ctx context.Context, log Log, lines []event.Line) ([]eventlog.Position, error) {
	began := time.Now()
	ctx, span := trace.Append(ctx, lines)
	positions, err := log.Append(ctx, lines)
	appendSeconds.Observe(time.Since(began).Seconds())
	if len(positions) == 0 {
		span.End(err)
	} else {
		span.Stored(positions[0].Sequence, err)
	}
	return positions, err
}

// publishBatch stores an array of events, all or none.
func (a *API) publishBatch(w http.ResponseWriter, r *http.Request, arrived time.Time) error {
	if r.ContentLength < 0 || r.ContentLength > web.MaxBody {
		if err := web.PlainBody(w, r); err != nil {
			return err
		}
		body, release, err := a.readBatch(w, r)
		if err != nil {
			return err
		}
		defer release()
		return a.storeBatch(w, r, body, arrived)
	}
	buf := batchBodies.Get().(*[]byte)
	body, _, err := web.ReadBodyInto(*buf, w, r, web.MaxBody, wire.Batch)
	if err != nil {
		return err
	}
	if err := a.storeBatch(w, r, body, arrived); err != nil {
		return err
	}
	*buf = body
	batchBodies.Put(buf) // and not after an error: the log may still look at it
	return nil
}

func (a *API) storeBatch(w http.ResponseWriter, r *http.Request, body []byte, arrived time.Time) error {
	lines, err := readLines(body)
	if err != nil {
		return err
	}
	for i, line := range lines {
		if err := a.allowed(line); err != nil {
			return at(i, err)
		}
	}
	positions, err := a.append(r, lines, arrived)
	if err != nil {
		return err
	}
	return web.WriteJSON(w, http.StatusOK, batchAnswer(positions))
}

// batchBodies hold the bodies of batches: half a megabyte that need not be
// cleared and collected each time.
var batchBodies = sync.Pool{New: func() any { return new([]byte) }}

func batchAnswer(positions []eventlog.Position) wire.BatchReceipt {
	answer := wire.BatchReceipt{Status: "OK", First: positions[0].Sequence, Last: positions[len(positions)-1].Sequence}
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
	case errors.Is(err, eventlog.ErrUnavailable):
		p = web.NewProblem(http.StatusServiceUnavailable, "Most of the event bus's servers do not answer. Send the event again, with the same id: it is stored once.")
	default:
		return err
	}
	p.RetryAfter, p.Cause = time.Second, err
	return p
}
