package main

import (
	"slices"
	"strings"

	"miniblog/internal/event"
	"miniblog/internal/feed"
	"miniblog/internal/projection"
)

// schema: n is the order in which posts came, k a comment's number within its
// post, from 1: the last k is the count. A post without a title is one that
// only its comments have told of so far. Text that is withheld is not stored.
const schema = `
CREATE TABLE posts (
	n     INTEGER PRIMARY KEY,
	id    TEXT NOT NULL UNIQUE,
	title TEXT
);
CREATE TABLE comments (
	n       INTEGER PRIMARY KEY,
	post    INTEGER NOT NULL REFERENCES posts (n),
	k       INTEGER NOT NULL,
	id      TEXT NOT NULL UNIQUE,
	status  TEXT NOT NULL,
	content TEXT NOT NULL
);
CREATE INDEX comments_of_post ON comments (post, k)`

// thread is what has to be known of a post to add a comment.
type thread struct{ n, comments int64 }

// maxThreads bounds how many threads are kept in memory between batches.
const maxThreads = 100_000

// arrival is a comment as the events of one batch leave it.
type arrival struct {
	event.Comment
	thread *thread
	known  bool // it was stored before
}

// change is what one event changed: a post, or the status of a comment.
type change struct {
	sequence event.Sequence
	post     event.Post
	comment  *arrival // nil for a post
	status   event.Status
}

// apply adds posts and comments and keeps decisions. Events may come twice, and
// from a bus without order in any order: a comment's first event adds it, and
// a decision is never taken back by an event that is older. All that a batch
// says of a comment is written at once; where batches begin and end makes no
// difference to what is stored.
func (q *query) apply(tx *projection.Tx, events []event.Event) error {
	if q.epoch != tx.Epoch { // what was applied last was taken back
		q.epoch, q.threads, q.changes, q.skipped = tx.Epoch, nil, nil, 0
	}
	if q.threads == nil || len(q.threads) > maxThreads {
		q.threads = make(map[string]*thread)
	}
	var batch []*arrival
	met := make(map[string]*arrival)
	for i := range events {
		switch e := &events[i]; e.Type {
		case event.PostCreated:
			post, err := e.Post()
			if err != nil {
				projection.Skip(e, err)
				continue
			}
			if err := q.addPost(tx, post); err != nil {
				return err
			}
			q.changes = append(q.changes, change{sequence: e.Sequence, post: post})
		case event.CommentCreated, event.CommentUpdated:
			comment, err := e.Comment()
			if err != nil {
				projection.Skip(e, err)
				continue
			}
			thread, err := q.threadOf(tx, comment.PostID)
			if err != nil {
				return err
			}
			comment.Content = comment.Status.Readable(comment.Content)
			a := met[comment.ID]
			if a == nil {
				a = &arrival{Comment: comment, thread: thread}
				met[comment.ID], batch = a, append(batch, a)
			} else if comment.Status.Decided() {
				a.Status, a.Content = comment.Status, comment.Content
			}
			q.changes = append(q.changes, change{sequence: e.Sequence, comment: a, status: comment.Status})
		}
	}
	for _, a := range batch {
		if err := q.store(tx, a); err != nil {
			return err
		}
	}
	if extra := len(q.changes) - feed.Size; extra > 0 { // catching up: nobody can follow that
		q.skipped = q.changes[extra-1].sequence
		q.changes = slices.Delete(q.changes, 0, extra)
	}
	return nil
}

// addPost adds a post, or its title if only its comments have told of it.
func (q *query) addPost(tx *projection.Tx, post event.Post) error {
	if _, known := q.threads[post.ID]; !known {
		n, added, err := tx.Insert("INSERT INTO posts (id, title) VALUES (?, ?) ON CONFLICT DO NOTHING", post.ID, post.Title)
		if added { // its thread is empty, and need not be looked up
			q.threads[post.ID] = &thread{n: n}
		}
		if added || err != nil {
			return err
		}
	}
	_, err := tx.Exec("UPDATE posts SET title = ? WHERE id = ? AND title IS NULL", post.Title, post.ID)
	return err
}

// threadOf returns the thread of a post, and adds the post if it is new.
func (q *query) threadOf(tx *projection.Tx, post string) (*thread, error) {
	if t := q.threads[post]; t != nil {
		return t, nil
	}
	t := new(thread)
	known, err := tx.Get("SELECT n, (SELECT coalesce(max(k), 0) FROM comments WHERE post = posts.n) FROM posts WHERE id = ?", []any{post}, &t.n, &t.comments)
	if err == nil && !known {
		_, err = tx.Get("INSERT INTO posts (id) VALUES (?) RETURNING n", []any{post}, &t.n)
	}
	if err != nil {
		return nil, err
	}
	q.threads[strings.Clone(post)] = t // post is part of a text that must not stay
	return t, nil
}

// store adds a comment, or decides on one that was stored before.
func (q *query) store(tx *projection.Tx, a *arrival) error {
	_, added, err := tx.Insert("INSERT INTO comments (post, k, id, status, content) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
		a.thread.n, a.thread.comments+1, a.ID, string(a.Status), a.Content)
	if added {
		a.thread.comments++
	} else if a.known = err == nil; a.known && a.Status.Decided() {
		_, err = tx.Exec("UPDATE comments SET status = ?, content = ? WHERE id = ?", string(a.Status), a.Content, a.ID)
	}
	return err
}

// committed makes what was applied visible.
func (q *query) committed() {
	if len(q.changes) == 0 {
		return
	}
	q.cache.Clear()
	if q.skipped > 0 {
		q.feed.Skip(q.skipped)
	}
	news := make([]feed.Change, 0, len(q.changes))
	for _, c := range q.changes {
		switch a := c.comment; {
		case a == nil:
			news = append(news, feed.NewChange(c.sequence, "post", c.post))
		case c.status.Decided() || !a.known: // a comment that was known is not new
			comment := event.Comment{ID: a.ID, PostID: a.PostID, Status: c.status, Content: c.status.Readable(a.Content)}
			news = append(news, feed.NewChange(c.sequence, "comment", comment))
		}
	}
	q.feed.Publish(news)
	q.changes, q.skipped = nil, 0
}
