package main

import (
	"context"

	"miniblog/internal/event"
)

// react decides on a comment.
func (t *terms) react(_ context.Context, cause *event.Event, comment event.Comment) (*event.Event, error) {
	comment.Status = t.decide(comment.Content)
	e := event.Reaction(*cause, "/moderation", event.CommentModerated, comment.PostID, comment)
	return &e, nil
}
