package main

import (
	"miniblog/internal/event"
	"miniblog/internal/projection"
)

// schema: n is the order in which posts came, k a comment's number within its
// post, from 1: the last k is the count. title is NULL until
// PostCreated arrives. Text that is withheld is not stored.
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

// arrival is a comment as the events of one call of apply leave it.
type arrival struct {
	event.Comment
	known bool // it was stored before
}

// change is what one event changed: a post, or the status of a comment.
type change struct {
	by      *event.Event
	post    event.Post
	comment *arrival // nil for a post
	status  event.Status
}

// types are the types of event that apply uses.
var types = []string{event.PostCreated, event.CommentCreated, event.CommentUpdated}

// apply adds posts and comments and keeps decisions. Events may come twice, and
// from a bus without order in any order: a comment's first event adds it, and
// a decision is never taken back by an event that is older. All that one call
// says of a comment is written at once; how events are parted into calls makes no
// difference to what is stored.
func (q *query) apply(tx *projection.Tx, events []event.Event) error {
	q.threads.trim()
	var arrivals []*arrival
	byID := make(map[string]*arrival)
	var changes []change
	for i := range events {
		switch e := &events[i]; e.Type {
		case event.PostCreated:
			post, err := e.Post()
			if err != nil {
				projection.Skip(e, err)
				continue
			}
			post.Title = event.Cut(post.Title, event.MaxTitle)
			if err := q.threads.addPost(tx, post); err != nil {
				return err
			}
			changes = append(changes, change{by: e, post: post})
		case event.CommentCreated, event.CommentUpdated:
			comment, err := e.Comment()
			if err != nil {
				projection.Skip(e, err)
				continue
			}
			comment.Content = event.Cut(comment.Status.Readable(comment.Content), event.MaxContent)
			a := byID[comment.ID]
			if a == nil || a.PostID != comment.PostID { // else the event before has loaded it
				if err := q.threads.load(tx, comment.PostID); err != nil {
					return err
				}
			}
			if a == nil {
				a = &arrival{Comment: comment}
				byID[comment.ID], arrivals = a, append(arrivals, a)
			} else if comment.Status.Decided() {
				a.Status, a.Content = comment.Status, comment.Content
			}
			changes = append(changes, change{by: e, comment: a, status: comment.Status})
		}
	}
	for _, a := range arrivals {
		if err := a.store(tx, q.threads); err != nil {
			return err
		}
	}
	for _, c := range changes {
		switch a := c.comment; {
		case a == nil:
			q.news.Add(c.by, "post", c.post)
		case c.status.Decided() || !a.known: // a comment that was known is not new
			q.news.Add(c.by, "comment", event.Comment{ID: a.ID, PostID: a.PostID, Status: c.status, Content: c.status.Readable(a.Content)})
		}
	}
	return nil
}

// store adds a comment, or decides on one that was stored before.
func (a *arrival) store(tx *projection.Tx, ts threads) error {
	post := event.KeyOf(a.PostID)
	t := ts[post]
	_, added, err := tx.Insert("INSERT INTO comments (post, k, id, status, content) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
		t.n, t.comments+1, a.ID, a.Status, a.Content)
	if added {
		t.comments++
		ts[post] = t
	} else if a.known = err == nil; a.known && a.Status.Decided() {
		err = tx.Exec("UPDATE comments SET status = ?, content = ? WHERE id = ?", a.Status, a.Content, a.ID)
	}
	return err
}

// rolledBack forgets what the tables do not hold.
func (q *query) rolledBack() {
	q.threads = nil
	q.news.Clear()
}

// committed makes what was applied visible.
func (q *query) committed(log string) {
	if !q.news.Empty() {
		q.cache.Clear()
	}
	q.feed.Publish(log, &q.news)
}
