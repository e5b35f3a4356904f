package main

import (
	"context"
	"log/slog"
	"net/http"

	"miniblog/internal/bus"
	"miniblog/internal/event"
	"miniblog/internal/web"
)

// moderation answers the requests.
type moderation struct {
	bus   *bus.Client
	terms *terms
}

// receive answers POST /events. When the decision cannot be published the
// answer is a 503, so that the bus delivers the comment again.
func (m *moderation) receive(w http.ResponseWriter, r *http.Request) error {
	e, err := bus.Receive(w, r)
	if err != nil {
		return err
	}
	if e.Type == event.CommentCreated {
		if err := m.react(r.Context(), &e); err != nil {
			return err
		}
	}
	return web.WriteJSON(w, http.StatusOK, struct{}{})
}

func (m *moderation) react(ctx context.Context, cause *event.Event) error {
	comment, err := cause.Comment()
	if err != nil {
		return err
	}
	comment.Status = m.terms.decide(comment.Content)
	e := event.Reaction(*cause, "/moderation", event.CommentModerated, comment.PostID, comment)
	receipt, err := m.bus.Publish(ctx, e)
	if err != nil {
		return err
	}
	slog.Info("comment "+string(comment.Status), "comment", comment.ID, "post", comment.PostID, "event", e.ID, "sequence", receipt.Sequence.String())
	return nil
}
