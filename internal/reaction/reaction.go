// Package reaction answers POST /events: what the bus pushes, and what is sent
// by hand.
//
// Its law: a reaction is a function from one event to another. It changes
// nothing itself, and the id of its event is derived from the cause's, so an
// event that is delivered twice has one reaction. That event is the answer to
// the push, where the bus takes it so (a reply); to a simpler bus, like the
// course's, it is published, and the answer is 200 only after that bus has
// stored it. Anything else makes the bus deliver again.
package reaction

import (
	"context"
	"log/slog"
	"net/http"

	"miniblog/internal/bus"
	"miniblog/internal/event"
	"miniblog/internal/trace"
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
	// Bus publishes what React returns, if the push does not ask for replies.
	Bus *bus.Client
	// Apply, if not nil, takes events of all other types.
	Apply func(event.Event) error
	// RefuseByHand answers events without a sequence with 403: those come from a
	// person, or from a bus that keeps no order.
	RefuseByHand bool
}

// Receive answers POST /events.
func (rc Receiver) Receive(w http.ResponseWriter, r *http.Request) error {
	e, err := read(w, r)
	if err != nil {
		return err
	}
	ctx, span := trace.Process(r.Context(), &e)
	err = rc.process(w, r.WithContext(ctx), e)
	span.End(err)
	return err
}

// process answers for an event that was read.
func (rc Receiver) process(w http.ResponseWriter, r *http.Request, e event.Event) error {
	if rc.RefuseByHand && e.Sequence == 0 {
		return web.NewProblem(http.StatusForbidden, "This service takes events from its event bus alone, and this one has no sequence: publish it at the event bus, or set EVENTS_BY_HAND=accept.")
	}
	if e.Type != rc.Type {
		if err := rc.apply(e); err != nil {
			return err
		}
		return web.WriteJSON(w, http.StatusOK, struct{}{})
	}
	reply, err := rc.react(r.Context(), &e)
	if err != nil {
		return err
	}
	if reply == nil {
		return web.WriteJSON(w, http.StatusOK, struct{}{})
	}
	if !takesReplies(r) {
		return rc.publish(w, r, &e, *reply)
	}
	answer := trace.Create(r.Context(), *reply)
	line, err := event.NewLine(&answer)
	if err != nil {
		return err
	}
	slog.InfoContext(r.Context(), "reaction answered", "cause", e.ID, "sequence", e.Sequence.String(), "event", reply.ID, "type", reply.Type)
	web.WriteBody(w, http.StatusOK, wire.Event, line.Text())
	return nil
}

func (rc Receiver) react(ctx context.Context, cause *event.Event) (*event.Event, error) {
	comment, err := cause.Comment()
	if err != nil {
		return nil, unusable(err)
	}
	return rc.React(ctx, cause, comment)
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
