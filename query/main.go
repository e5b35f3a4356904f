// Query is the read side: posts with their comments, as they are and as they
// change.
package main

import (
	"context"

	"miniblog/internal/bus"
	"miniblog/internal/event"
	"miniblog/internal/feed"
	"miniblog/internal/projection"
	"miniblog/internal/reaction"
	"miniblog/internal/service"
	"miniblog/internal/web"
)

func main() { service.Main("query", "localhost:4002", open) }

func open(ctx context.Context, env *service.Env) (*service.Service, error) {
	origins := env.Origins("ALLOWED_ORIGINS", "http://localhost:3000")
	url := env.URL("EVENT_BUS_URL", "http://localhost:4005")
	dir := env.Dir("DATA_DIR", "data/query")
	refuse := env.OneOf("EVENTS_BY_HAND", "accept", "refuse") == "refuse"
	snapshots := projection.Snapshots{Addr: env.String("SNAPSHOT_ADDR", ""), URL: env.URLOrEmpty("SNAPSHOT_URL", "")}
	if env.Err() != nil {
		return nil, nil // Run says what is wrong
	}
	q := new(query)
	view, err := projection.Open(projection.Config{
		Dir: dir, Bus: bus.New(url), Snapshots: snapshots,
		Schema: schema, Types: types, Apply: q.apply, RolledBack: q.rolledBack, Committed: q.committed,
		Dropped: func(log string, at event.Sequence) { q.cache.Clear(); q.feed.Reset(log, at) }, // all that was seen is gone
	})
	if err != nil {
		return nil, err
	}
	q.view, q.feed = view, feed.New(view.Log(), view.Checkpoint())
	return &service.Service{
		Routes: map[string]web.Handler{
			"GET /posts":      q.list,
			"GET /posts/{$}":  q.list,
			"GET /posts/live": q.feed.Handler(ctx, view.Checkpoint),
			"POST /events":    reaction.Receiver{Apply: view.ApplyNow, RefuseByHand: refuse}.Receive,
		},
		Origins:    origins,
		Ready:      view.Ready,
		Background: []func(context.Context) error{view.Run},
		Close:      view.Close,
	}, nil
}
