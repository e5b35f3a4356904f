package main

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"miniblog/internal/bus"
	"miniblog/internal/event"
	"miniblog/internal/projection"
	"miniblog/internal/web"
)

const (
	defaultLimit = 100
	maxLimit     = 1000
	maxPost      = 1 << 10         // bytes that most posts take at most in an answer
	readLimit    = 2 * time.Second // how long a writer waits to read its own write
)

// posts answers the requests.
type posts struct {
	bus  *bus.Client
	view *projection.Projection
}

// create answers POST /posts/create. The post's id is its event's id; with an
// Idempotency-Key it is derived from the key, so that every attempt, on every
// replica, means the same post.
func (p *posts) create(w http.ResponseWriter, r *http.Request) error {
	title, key, err := web.ReadCommand(w, r, "title", event.MaxTitle)
	if err != nil {
		return err
	}
	post := event.Post{ID: event.NewID(), Title: title}
	if key != "" {
		post.ID = event.DeriveID("posts", key)
		if done, err := p.same(r.Context(), post); err != nil {
			return err
		} else if done {
			return web.WriteJSON(w, http.StatusCreated, post)
		}
	}
	e := event.New(post.ID, "/posts", event.PostCreated, post.ID, post)
	due, cancel := web.UntilDue(w, r)
	defer cancel()
	receipt, err := p.bus.Publish(due, e)
	if err != nil {
		return err
	}
	e.Sequence = receipt.Sequence
	if _, err := p.view.Await(r.Context(), e, readLimit); err != nil { // later than readLimit, it is stored all the same
		return err
	}
	if receipt.Duplicate {
		if done, err := p.same(r.Context(), post); err != nil {
			return err
		} else if !done {
			return web.Unavailable(time.Second, nil, "The post of this Idempotency-Key is not known here yet. Try again in a moment.")
		}
	} else {
		slog.InfoContext(r.Context(), "post created", "post", post.ID, "event", e.ID, "sequence", receipt.Sequence.String())
	}
	return web.WriteJSON(w, http.StatusCreated, post)
}

// same tells whether post was created already. With another title it was
// another request, and that is a 422.
func (p *posts) same(ctx context.Context, post event.Post) (done bool, err error) {
	err = p.view.Read(ctx, func(tx *projection.Tx) error {
		title, known, err := find(tx, post.ID)
		if err == nil && known && title != post.Title {
			return web.Invalid("Idempotency-Key", "This Idempotency-Key was used for a post with another title. Use a new key for a new post.")
		}
		done = known
		return err
	})
	return done, err
}

// list answers GET /posts.
func (p *posts) list(w http.ResponseWriter, r *http.Request) error {
	query := r.URL.Query()
	limit, err := web.Limit(query, defaultLimit, maxLimit)
	if err != nil {
		return err
	}
	if err := web.Reserve(w, r, int64(limit)*maxPost); err != nil {
		return err
	}
	var posts []event.Post
	var more bool
	before := query.Get("before") // it may be known to another copy alone yet
	due, cancel := web.UntilDue(w, r)
	defer cancel()
	known, err := p.view.Until(due, projection.Arrival, func(tx *projection.Tx) (known bool, err error) {
		posts, more, known, err = page(tx, limit, before)
		return known, err
	})
	if err != nil {
		return err
	}
	if !known {
		return web.Invalid("before", "There is no post %.140q to list the posts before.", before)
	}
	if more {
		web.LinkNext(w.Header(), r.URL, limit, "before", posts[len(posts)-1].ID)
	}
	answer := web.NewObject()
	for i := range posts {
		if err := answer.Add(posts[i].ID, &posts[i]); err != nil {
			return err
		}
	}
	web.WriteBody(w, http.StatusOK, "application/json", answer.End())
	return nil
}
