// Posts is the command side of posts: it takes them in, publishes PostCreated,
// and lists what was created.
package main

import (
	"context"

	"miniblog/internal/bus"
	"miniblog/internal/projection"
	"miniblog/internal/reaction"
	"miniblog/internal/service"
	"miniblog/internal/web"
)

func main() { service.Main("posts", "localhost:4000", open) }

func open(_ context.Context, env *service.Env) (*service.Service, error) {
	origins := env.Origins("ALLOWED_ORIGINS", "http://localhost:3000")
	url := env.URL("EVENT_BUS_URL", "http://localhost:4005")
	dir := env.Dir("DATA_DIR", "data/posts")
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
	posts := &posts{bus: client, view: view}
	return &service.Service{
		Routes: map[string]web.Handler{
			"POST /posts/create": posts.create,
			"GET /posts":         posts.list,
			"POST /events":       reaction.Receiver{Apply: view.ApplyNow, RefuseByHand: refuse}.Receive,
		},
		Origins:    origins,
		Ready:      view.Ready,
		Background: []func(context.Context) error{view.Run},
		Close:      view.Close,
	}, nil
}
