// Moderation decides on comments: it answers each CommentCreated with a
// CommentModerated. It keeps no state; any number of copies do the same.
package main

import (
	"context"

	"miniblog/internal/bus"
	"miniblog/internal/event"
	"miniblog/internal/reaction"
	"miniblog/internal/service"
	"miniblog/internal/web"
)

func main() { service.Main("moderation", "localhost:4003", open) }

func open(_ context.Context, env *service.Env) (*service.Service, error) {
	url := env.URL("EVENT_BUS_URL", "http://localhost:4005")
	terms, err := openTerms(env.String("BLOCKED_TERMS_FILE", ""))
	if err != nil {
		return nil, err
	}
	events := reaction.Receiver{Type: event.CommentCreated, React: terms.react, Bus: bus.New(url)}
	return &service.Service{Routes: map[string]web.Handler{"POST /events": events.Receive}}, nil
}
