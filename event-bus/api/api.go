// Package api is the event bus's HTTP: publish, fetch, follow, and the
// subscribers.
//
// Its law: what is answered with 200 is on disk.
package api

import (
	"context"
	"errors"
	"net/http"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"golang.org/x/sync/semaphore"

	"miniblog/event-bus/activity"
	"miniblog/event-bus/eventlog"
	"miniblog/event-bus/push"
	"miniblog/internal/event"
	"miniblog/internal/web"
)

// Log is what the API needs of a log: of one on this machine's disk
// (eventlog.Log), or of a copy of one that several machines keep.
type Log interface {
	ID() string
	// Last returns the newest sequence that may be read here.
	Last() event.Sequence
	// End returns the newest sequence of the whole log: a copy that may be behind
	// asks before it speaks for the log. Last is End or more when it returns.
	End(ctx context.Context) (event.Sequence, error)
	// Beyond returns a channel that is closed once Last is after the sequence.
	Beyond(after event.Sequence) <-chan struct{}
	// Append returns once all lines are durable, or none: see eventlog.Log.
	Append(ctx context.Context, lines []event.Line) ([]eventlog.Position, error)
	Reader(after event.Sequence) *eventlog.Reader
	Frames(after event.Sequence, limit uint64) (*eventlog.Frames, error)
}

// Config is what the API works on. It closes none of it.
type Config struct {
	Log      Log
	Pusher   *push.Pusher       // nil: no routes for subscribers
	Activity *activity.Recorder // is told of what is stored and who follows; may be nil
	Stopping context.Context    // ends when the service begins to stop: waits and streams end then
	// ReplyOnly are types of events that POST /events refuses with 403: only the
	// reply of a subscriber that may answer with them brings one.
	ReplyOnly []string
}

// API answers the routes of the event bus.
type API struct {
	log         Log
	pusher      *push.Pusher
	activity    *activity.Recorder
	stopping    context.Context
	replyOnly   []string
	batchMemory *semaphore.Weighted
}

// New returns the API of a bus.
func New(c Config) *API {
	return &API{log: c.Log, pusher: c.Pusher, activity: c.Activity, stopping: c.Stopping, replyOnly: c.ReplyOnly, batchMemory: semaphore.NewWeighted(batchMemory)}
}

// Routes returns the handlers by pattern of http.ServeMux.
func (a *API) Routes() map[string]web.Handler {
	routes := map[string]web.Handler{
		"POST /events": a.publish,
		"GET /events":  a.fetch,
	}
	if a.pusher != nil {
		routes["GET /subscribers"] = a.subscribers
		routes["POST /subscribers/{name}/replay"] = a.replay
	}
	return routes
}

// subscribers lists how each subscriber is doing.
func (a *API) subscribers(w http.ResponseWriter, r *http.Request) error {
	list, err := a.pusher.List(r.Context())
	if err != nil {
		return err
	}
	return web.WriteJSON(w, http.StatusOK, list)
}

// replay delivers again what came after a sequence.
func (a *API) replay(w http.ResponseWriter, r *http.Request) error {
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
	status, err := a.pusher.Replay(r.Context(), r.PathValue("name"), after)
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
