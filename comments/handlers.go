package main

import (
	"context"
	"log/slog"
	"math"
	"net/http"
	"time"

	"miniblog/internal/bus"
	"miniblog/internal/event"
	"miniblog/internal/fault"
	"miniblog/internal/projection"
	"miniblog/internal/web"
)

const (
	defaultLimit = 100
	maxLimit     = 1000
	readLimit    = 2 * time.Second // how long a writer waits to read its own write
	replyLimit   = 5 * time.Second // how long to wait for a decision; the bus waits 10 s for the answer
)

// comments answers the requests.
type comments struct {
	bus  *bus.Client
	view *projection.Projection
}

// create answers POST /posts/{id}/comments. The comment's id is its event's
// id; with an Idempotency-Key it is derived from the post and the key, so that
// every attempt, on every replica, means the same comment.
func (c *comments) create(w http.ResponseWriter, r *http.Request) error {
	post, err := postID(r)
	if err != nil {
		return err
	}
	if err := c.awaitPost(r.Context(), post); err != nil { // before the body is read, so that waiting holds no memory
		return err
	}
	content, key, err := web.ReadCommand(w, r, "content", event.MaxContent)
	if err != nil {
		return err
	}
	comment := event.Comment{ID: event.NewID(), Content: content, PostID: post, Status: event.Pending}
	if key != "" {
		comment.ID = event.DeriveID("comments", post, key)
		if done, err := c.answer(w, r, comment, false); done || err != nil {
			return err
		}
	}
	e := event.New(comment.ID, "/comments", event.CommentCreated, post, comment)
	due, cancel := web.UntilDue(w, r)
	defer cancel()
	receipt, err := c.bus.Publish(due, e)
	if err != nil {
		return err
	}
	e.Sequence = receipt.Sequence
	if _, err := c.view.Await(r.Context(), e, readLimit); err != nil { // later than readLimit, it is stored all the same
		return err
	}
	done, err := c.answer(w, r, comment, !receipt.Duplicate)
	if err == nil && !done {
		err = web.Unavailable(time.Second, nil, "The comment of this Idempotency-Key is not known here yet. Try again in a moment.")
	}
	if err == nil && !receipt.Duplicate {
		slog.InfoContext(r.Context(), "comment created", "comment", comment.ID, "post", post, "event", e.ID, "sequence", receipt.Sequence.String())
	}
	return err
}

// answer sends the post's comments up to comment, which has the text that its
// writer sent. A new comment is shown as pending, whatever was decided meanwhile,
// and also if it is not yet in this copy's projection. One that is not new must be
// there: if it is not, done is false and nothing is sent; if it has another text,
// its key was used for another request, and that is a 422.
func (c *comments) answer(w http.ResponseWriter, r *http.Request, comment event.Comment, isNew bool) (done bool, err error) {
	thread, others := []shown(nil), maxLimit-1
	if web.Reserve(w, r, maxText) != nil {
		others = 0 // the comment is stored: it is answered, however little memory there is
	}
	err = c.view.Read(r.Context(), func(tx *projection.Tx) error {
		known, n, found, err := find(tx, comment.PostID, comment.ID)
		if err != nil || !found && !isNew {
			return err
		}
		if !found {
			n = math.MaxInt64
		}
		if !isNew {
			comment.Status = known.Status
			if known.Content != comment.Content {
				return web.Invalid("Idempotency-Key", "This Idempotency-Key was used for another comment on this post. Use a new key for a new comment.")
			}
		}
		done = true
		thread, err = until(tx, comment.PostID, n-1, others)
		return err
	})
	if done && err == nil {
		err = web.WriteJSON(w, http.StatusCreated, append(thread, shown{comment.ID, comment.Content, comment.Status}))
	}
	return done, err
}

// awaitPost returns when the post is known. Else it is a 404, or a 503 where the log may hold it.
func (c *comments) awaitPost(ctx context.Context, post string) error {
	known, err := c.view.UntilRow(ctx, projection.Arrival, "SELECT 1 FROM posts WHERE id = ? AND known", post)
	if err == nil && !known {
		err = web.NewProblem(http.StatusNotFound, "There is no post %.140q to comment on.", post)
	}
	return err
}

// postID returns the id in the path; one that no post can have is a 404.
func postID(r *http.Request) (string, error) {
	id := r.PathValue("id")
	if len(id) > event.MaxID {
		return "", web.NewProblem(http.StatusNotFound, "There is no such post: an id has at most %d bytes.", event.MaxID)
	}
	return id, nil
}

// list answers GET /posts/{id}/comments.
func (c *comments) list(w http.ResponseWriter, r *http.Request) error {
	post, err := postID(r)
	if err != nil {
		return err
	}
	query := r.URL.Query()
	limit, err := web.Limit(query, defaultLimit, maxLimit)
	if err != nil {
		return err
	}
	if err := web.Reserve(w, r, min(int64(limit)*event.MaxContent, maxText)); err != nil {
		return err
	}
	thread, more := []shown(nil), false
	last := query.Get("after") // it may be known to another copy alone yet
	due, cancel := web.UntilDue(w, r)
	defer cancel()
	known, err := c.view.Until(due, projection.Arrival, func(tx *projection.Tx) (known bool, err error) {
		thread, more, known, err = after(tx, post, last, limit)
		return known, err
	})
	if err != nil {
		return err
	}
	if !known {
		return web.Invalid("after", "This post has no comment %.140q to list the comments after.", last)
	}
	if more {
		web.LinkNext(w.Header(), r.URL, limit, "after", thread[len(thread)-1].ID)
	}
	return web.WriteJSON(w, http.StatusOK, thread)
}

// react turns a decision of moderation into what readers see. A comment is
// decided once: the first decision in the log counts, so this waits until the
// projection has passed the cause, and answers only that one.
func (c *comments) react(ctx context.Context, cause *event.Event, comment event.Comment) (*event.Event, error) {
	if !comment.Status.Decided() {
		return nil, nil
	}
	reached, err := c.view.Await(ctx, *cause, replyLimit)
	if err != nil {
		return nil, err
	}
	var sequence event.Sequence // of the first decision
	var status event.Status
	var decided bool
	err = c.view.Read(ctx, func(tx *projection.Tx) (err error) {
		decided, err = tx.Get("SELECT sequence, status FROM decisions WHERE comment = ?", []any{comment.ID}, &sequence, &status)
		return err
	})
	if err != nil {
		return nil, err
	}
	if !reached || !decided {
		return nil, &fault.Fault{Kind: fault.Unavailable, Detail: "The decision is not yet in this copy's projection. Deliver it again."}
	}
	if sequence > 0 && sequence != cause.Sequence || status != comment.Status { // somebody else may have sent it
		slog.InfoContext(ctx, "the comment was decided before; this decision changes nothing", "comment", comment.ID, "event", cause.ID, "sequence", cause.Sequence.String())
		return nil, nil
	}
	e := event.Reaction(*cause, "/comments", event.CommentUpdated, comment.PostID, comment)
	return &e, nil
}
