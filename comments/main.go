// Comments is the command side of comments: it takes them in, publishes
// CommentCreated, and answers moderation's decision with CommentUpdated.
package main

import (
	"context"

	"miniblog/internal/bus"
	"miniblog/internal/event"
	"miniblog/internal/projection"
	"miniblog/internal/reaction"
	"miniblog/internal/service"
	"miniblog/internal/web"
)

func main() { service.Main("comments", "localhost:4001", open) }

func open(_ context.Context, env *service.Env) (*service.Service, error) {
	origins := env.Origins("ALLOWED_ORIGINS", "http://localhost:3000")
	url := env.URL("EVENT_BUS_URL", "http://localhost:4005")
	dir := env.Dir("DATA_DIR", "data/comments")
	refuse := env.OneOf("EVENTS_BY_HAND", "accept", "refuse") == "refuse"
	snapshots := projection.Snapshots{Addr: env.String("SNAPSHOT_ADDR", ""), URL: env.URLOrEmpty("SNAPSHOT_URL", "")}
	if env.Err() != nil {
		return nil, nil // Run says what is wrong
	}
	client := bus.New(url)
	view, err := projection.Open(projection.Config{Dir: dir, Bus: client, Snapshots: snapshots, Schema: schema, Types: types, Apply: apply})
	if err != nil {
		return nil, err
	}
	comments := &comments{bus: client, view: view}
	events := reaction.Receiver{Type: event.CommentModerated, React: comments.react, Bus: client, Apply: view.ApplyNow, RefuseByHand: refuse}
	return &service.Service{
		Routes: map[string]web.Handler{
			"POST /posts/{id}/comments": comments.create,
			"GET /posts/{id}/comments":  comments.list,
			"POST /events":              events.Receive,
		},
		Origins:    origins,
		Ready:      view.Ready,
		Background: []func(context.Context) error{view.Run},
		Close:      view.Close,
	}, nil
}
