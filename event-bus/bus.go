package main

import (
	"context"
	"errors"
	"net/http"

	"golang.org/x/sync/semaphore"

	"miniblog/event-bus/eventlog"
	"miniblog/event-bus/push"
	"miniblog/internal/event"
	"miniblog/internal/service"
)

// bus answers the routes of the event bus.
type bus struct {
	log         *eventlog.Log
	pusher      *push.Pusher
	stopping    context.Context // ends when the service begins to stop
	batchMemory *semaphore.Weighted
}

func (b *bus) routes() map[string]service.Handler {
	return map[string]service.Handler{
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
	return service.WriteJSON(w, http.StatusOK, list)
}

// replay delivers again what came after a sequence.
func (b *bus) replay(w http.ResponseWriter, r *http.Request) error {
	var request struct {
		After *sequenceOrNumber `json:"after"`
	}
	if err := service.ReadJSON(w, r, &request); err != nil {
		return err
	}
	if request.After == nil {
		return service.Invalid("after", "Say from where: {\"after\":0} delivers everything again.")
	}
	status, err := b.pusher.Replay(r.Context(), r.PathValue("name"), event.Sequence(*request.After))
	switch {
	case errors.Is(err, push.ErrUnknown):
		return service.NewProblem(http.StatusNotFound, "There is no subscriber with this name. GET /subscribers lists them.")
	case errors.Is(err, push.ErrAhead):
		return service.Invalid("after", "The log ends at event %d.", b.log.Last())
	case err != nil:
		return err
	}
	return service.WriteJSON(w, http.StatusOK, status)
}

// sequenceOrNumber is a sequence in a request: people write 42, programs send
// back the 20 digits that they were given.
type sequenceOrNumber event.Sequence

// UnmarshalJSON implements json.Unmarshaler.
func (s *sequenceOrNumber) UnmarshalJSON(text []byte) error {
	if len(text) > 1 && text[0] == '"' {
		text = text[1 : len(text)-1]
	}
	q, err := event.ParseSequence(string(text))
	*s = sequenceOrNumber(q)
	return err
}
