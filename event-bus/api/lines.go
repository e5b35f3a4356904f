package api

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"miniblog/internal/event"
	"miniblog/internal/web"
	"miniblog/internal/wire"
)

// readLine reads an event as a line of the log. What was sent as a line is
// taken as it stands, in body. Its errors are problems.
func readLine(body []byte) (event.Line, error) {
	if line, rest, ok := event.TakeLine(body); ok && len(line.Text()) <= wire.MaxEvent && len(skipSpace(rest)) == 0 {
		return line, nil
	}
	var e event.Event
	if err := web.DecodeJSON(body, &e); err != nil {
		return event.Line{}, err
	}
	return newLine(&e)
}

// readLines reads an array of events, as readLine does one.
func readLines(body []byte) ([]event.Line, error) {
	if lines, ok := takeLines(body); ok {
		return lines, nil
	}
	var events batch
	if err := web.DecodeJSON(body, &events); err != nil {
		return nil, err
	}
	if len(events) == 0 {
		return nil, web.NewProblem(http.StatusUnprocessableEntity, "The batch is empty: send at least one event.")
	}
	lines := make([]event.Line, len(events))
	for i := range events {
		var err error
		if lines[i], err = newLine(&events[i]); err != nil {
			return nil, at(i, err)
		}
	}
	return lines, nil
}

// takeLines cuts an array apart whose events are all lines already, as the
// blog's services send it.
func takeLines(body []byte) (lines []event.Line, ok bool) {
	rest := skipSpace(body)
	for before := byte('['); len(rest) > 0 && rest[0] == before; before = ',' {
		line, after, ok := event.TakeLine(rest[1:])
		if !ok || len(line.Text()) > wire.MaxEvent || len(lines) == wire.MaxBatchEvents {
			return nil, false
		}
		lines, rest = append(lines, line), after
	}
	return lines, len(lines) > 0 && len(rest) > 0 && rest[0] == ']' && len(skipSpace(rest[1:])) == 0
}

// skipSpace skips JSON's white space.
func skipSpace(b []byte) []byte { return bytes.TrimLeft(b, " \t\r\n") }

// batch is an array of events that ends before it takes all memory: 16 MiB can
// hold millions of something.
type batch []event.Event

// UnmarshalJSONFrom implements json.UnmarshalerFrom.
func (b *batch) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	if dec.PeekKind() != '[' {
		if err := dec.SkipValue(); err != nil {
			return err
		}
		return web.NewProblem(http.StatusBadRequest, "The body must be a JSON array of events.")
	}
	if _, err := dec.ReadToken(); err != nil {
		return err
	}
	for dec.PeekKind() != ']' {
		if len(*b) == wire.MaxBatchEvents {
			return web.NewProblem(http.StatusRequestEntityTooLarge, "The batch has more than %d events: send it in parts.", wire.MaxBatchEvents)
		}
		*b = append(*b, event.Event{})
		if err := (*b)[len(*b)-1].UnmarshalJSONFrom(dec); err != nil {
			return err
		}
	}
	_, err := dec.ReadToken()
	return err
}

// newLine checks e, fills in what is missing, and writes it as a line. Its
// errors are problems.
func newLine(e *event.Event) (event.Line, error) {
	if err := complete(e); err != nil {
		return event.Line{}, err
	}
	line, err := event.NewLine(e)
	if size := len(line.Text()); size > wire.MaxEvent { // no subscriber would take it
		err = web.NewProblem(http.StatusRequestEntityTooLarge, "The event is too large: with its envelope it has %d bytes, and at most %d are allowed.", size, wire.MaxEvent)
	}
	return line, err
}

// at says which event of a batch has a problem.
func at(i int, err error) error {
	var p *web.Problem
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
		return web.Invalid("specversion", "The specversion must be 1.0, the version of CloudEvents that is spoken here.")
	}
	if e.Type == "" {
		return web.Invalid("type", "The type is missing: say what happened, such as PostCreated.")
	}
	if e.ID == "" {
		e.ID = event.NewID()
	}
	if e.Source == "" {
		e.Source = "/event-bus"
	}
	if e.Time == "" {
		e.Time = event.Time(time.Now())
	} else if _, err := time.Parse(time.RFC3339, e.Time); err != nil {
		return web.Invalid("time", "The time must be written as RFC 3339 has it, such as %s.", time.Now().UTC().Format(time.RFC3339))
	}
	for _, f := range [...]struct{ name, value string }{{"id", e.ID}, {"type", e.Type}, {"source", e.Source}, {"subject", e.Subject}} {
		if len(f.value) > event.MaxID {
			return web.Invalid(f.name, "The %s is too long: it has %d bytes, and at most %d are allowed.", f.name, len(f.value), event.MaxID)
		}
		if strings.IndexByte(f.value, 0) >= 0 {
			return web.Invalid(f.name, "The %s contains a NUL character, which is not allowed.", f.name)
		}
	}
	if e.TooDeep() {
		return web.NewProblem(http.StatusUnprocessableEntity, "The event is nested too deep: its JSON may have at most %d levels.", event.MaxDepth)
	}
	e.Sequence = 0 // the log's to give
	return nil
}
