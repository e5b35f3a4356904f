package main

import (
	"context"
	"errors"
	"net/http"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"golang.org/x/sync/semaphore"

	"miniblog/event-bus/eventlog"
	"miniblog/event-bus/push"
	"miniblog/internal/event"
	"miniblog/internal/web"
)

// bus answers the routes of the event bus.
type bus struct {
	log         *eventlog.Log
	pusher      *push.Pusher
	stopping    context.Context // ends when the service begins to stop
	batchMemory *semaphore.Weighted
}

func (b *bus) routes() map[string]web.Handler {
	return map[string]web.Handler{
		"POST /events":                    b.publish,
		"GET /events":                     b.fetch,
		"GET /subscribers":                b.subscribers,
		"POST /subscribers/{name}/replay": b.replay,
	}
}

// subscribers lists how each subscriber is doing.
func (b *bus) subscribers(w http.ResponseWriter, r *http.Request) error {
	list, err := b.pusher.List(r.Context())
	if err != nil {
		return err
	}
	return web.WriteJSON(w, http.StatusOK, list)
}

// replay delivers again what came after a sequence.
func (b *bus) replay(w http.ResponseWriter, r *http.Request) error {
	var request struct {
		After sequenceOrNumber `json:"after"`
	}
	if err := web.ReadJSON(w, r, &request); err != nil {
		return err
	}
	after, err := event.ParseSequence(string(request.After))
	if err != nil {
		return web.Invalid("after", "Say from where, with a whole number: {\"after\": 0} delivers everything again.")
	}
	status, err := b.pusher.Replay(r.Context(), r.PathValue("name"), after)
	switch {
	case errors.Is(err, push.ErrUnknown):
		return web.NewProblem(http.StatusNotFound, "There is no subscriber with this name. GET /subscribers lists them.")
	case errors.Is(err, push.ErrAhead):
		return web.Invalid("after", "The cursor of this subscriber is at event %d: a replay ahead of it would pass over events that were not delivered yet.", status.Cursor)
	case err != nil:
		return err
	}
	return web.WriteJSON(w, http.StatusOK, status)
}

// sequenceOrNumber is the text of a sequence in a request: people write 42,
// programs send back the 20 digits that they were given.
type sequenceOrNumber string

// UnmarshalJSONFrom implements json.UnmarshalerFrom.
func (s *sequenceOrNumber) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	switch dec.PeekKind() {
	case '"', '0', 'n':
		token, err := dec.ReadToken()
		*s = sequenceOrNumber(token.String())
		return err
	default:
		return json.UnmarshalDecode(dec, (*string)(s)) // which refuses it
	}
}
