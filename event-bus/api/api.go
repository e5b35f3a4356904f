// Package api is the event bus's HTTP: publish, fetch, follow, and the
// subscribers.
//
// Its law: what is answered with 200 is on disk.
package api

import (
	"context"
	"net/http"
	"slices"

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
	// Recent returns what comes after the sequence if it is in memory.
	Recent(after event.Sequence) eventlog.Batch
	Frames(after event.Sequence, limit uint64, reserve eventlog.Reserve) (*eventlog.Frames, error)
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
	// Origins are those of pages that may do more than read, beside the bus's own;
	// "*" is any.
	Origins []string
}

// API answers the routes of the event bus.
type API struct {
	log         Log
	pusher      *push.Pusher
	activity    *activity.Recorder
	stopping    context.Context
	replyOnly   []string
	origins     []string
	batchMemory *semaphore.Weighted
	tail        *tail
}

// New returns the API of a bus.
func New(c Config) *API {
	return &API{log: c.Log, pusher: c.Pusher, activity: c.Activity, stopping: c.Stopping, replyOnly: c.ReplyOnly,
		origins: c.Origins, batchMemory: semaphore.NewWeighted(batchMemory), tail: newTail(c.Log)}
}

// Routes returns the handlers by pattern of http.ServeMux.
func (a *API) Routes() map[string]web.Handler {
	routes := map[string]web.Handler{
		"POST /events": a.fromHere(a.publish),
		"GET /events":  a.fetch,
	}
	if a.pusher != nil {
		routes["GET /subscribers"] = a.subscribers
		routes["GET /subscribers/{name}/attempts"] = a.attempts
		routes["GET /subscribers/{name}/dead-letters"] = a.deadLetters
		routes["POST /subscribers/{name}/dead-letters/redeliver"] = a.fromHere(a.redeliver)
		routes["POST /subscribers/{name}/replay"] = a.fromHere(a.replay)
	}
	return routes
}

// fromHere refuses requests that a browser sends for a page of another site,
// unless its origin may call. Programs send no such headers.
func (a *API) fromHere(next web.Handler) web.Handler {
	if slices.Contains(a.origins, "*") {
		return next
	}
	protection := http.NewCrossOriginProtection()
	for _, origin := range a.origins {
		protection.AddTrustedOrigin(origin) // one that is wrong stays refused
	}
	return func(w http.ResponseWriter, r *http.Request) error {
		if protection.Check(r) != nil {
			return web.NewProblem(http.StatusForbidden, "A page of another site may not do this. ALLOWED_ORIGINS of the event bus lists those that may.")
		}
		return next(w, r)
	}
}
