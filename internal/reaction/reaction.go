// Package reaction answers POST /events: what the bus pushes, and what is sent
// by hand.
//
// Its law: a reaction is a function from one event to another. It changes
// nothing itself, and the id of its event is derived from the cause's, so an
// event that is delivered twice has one reaction. The answer is 200 only after
// the bus has stored that event; anything else makes the bus deliver again.
package reaction

import (
	"context"
	"log/slog"
	"net/http"

	"miniblog/internal/bus"
	"miniblog/internal/event"
	"miniblog/internal/web"
	"miniblog/internal/wire"
)

// Receiver says what becomes of the events that arrive. Its zero value takes
// them in and does nothing.
type Receiver struct {
	// Type is the type of event, with the data of a comment, that React answers.
	Type string
	// React returns the event that follows from cause, or nil if none does.
	React func(ctx context.Context, cause *event.Event, comment event.Comment) (*event.Event, error)
	// Bus publishes what React returns.
	Bus *bus.Client
	// Apply, if not nil, takes events of all other types.
	Apply func(event.Event) error
}

// Receive answers POST /events.
func (rc Receiver) Receive(w http.ResponseWriter, r *http.Request) error {
	e, err := read(w, r)
	if err != nil {
		return err
	}
	if e.Type == rc.Type {
		err = rc.react(r.Context(), &e)
	} else {
		err = rc.apply(e)
	}
	if err != nil {
		return err
	}
	return web.WriteJSON(w, http.StatusOK, struct{}{})
}

func (rc Receiver) react(ctx context.Context, cause *event.Event) error {
	comment, err := cause.Comment()
	if err != nil {
		return unusable(err)
	}
	reply, err := rc.React(ctx, cause, comment)
	if err != nil || reply == nil {
		return err
	}
	receipt, err := rc.Bus.Publish(ctx, *reply)
	if err != nil {
		return err
	}
	slog.Info("reaction published", "comment", comment.ID, "status", string(comment.Status), "cause", cause.ID,
		"event", reply.ID, "type", reply.Type, "sequence", receipt.Sequence.String())
	return nil
}

func (rc Receiver) apply(e event.Event) error {
	if err := e.Check(); err != nil {
		return unusable(err)
	}
	if rc.Apply == nil {
		return nil
	}
	return rc.Apply(e)
}

// read reads an event: the course's {"type","data"} or a full envelope. Its
// errors are problems.
func read(w http.ResponseWriter, r *http.Request) (event.Event, error) {
	var e event.Event
	body, _, err := web.ReadBody(w, r, wire.MaxEvent, wire.JSON, wire.Event)
	if err != nil {
		return e, err
	}
	if err := web.DecodeJSON(body, &e); err != nil {
		return e, err
	}
	if e.Type == "" {
		return e, web.Invalid("type", "The event's type is missing: send {\"type\": …, \"data\": …}.")
	}
	return e, nil
}

// unusable is the answer to an event whose data does not fit its type.
func unusable(reason error) error {
	return web.Invalid("data", "The event cannot be used: %v.", reason)
}
