package main

import (
	"slices"

	"miniblog/internal/event"
	"miniblog/internal/projection"
)

// schema: n is the order in which posts and comments came. known is 0
// until PostCreated arrives. decisions are the first CommentModerated of each
// comment, in the order of the log; sequence is 0 for one that came by hand or
// from a bus without a log.
const schema = `
CREATE TABLE posts (
	n     INTEGER PRIMARY KEY,
	id    TEXT NOT NULL UNIQUE,
	known INTEGER NOT NULL
);
CREATE TABLE comments (
	n       INTEGER PRIMARY KEY,
	post    INTEGER NOT NULL REFERENCES posts (n),
	id      TEXT NOT NULL UNIQUE,
	content TEXT NOT NULL,
	status  TEXT NOT NULL
);
CREATE INDEX comments_of_post ON comments (post, n);
CREATE TABLE decisions (
	comment  TEXT PRIMARY KEY,
	sequence INTEGER NOT NULL,
	status   TEXT NOT NULL
) WITHOUT ROWID`

// types are the types of event that apply uses.
var types = []string{event.PostCreated, event.CommentCreated, event.CommentModerated, event.CommentUpdated}

// apply adds posts and comments and keeps decisions. Events may come twice, and
// from a bus without order in any order: a comment's first event adds it, and
// a decision is never taken back by an event that is older.
func apply(tx *projection.Tx, events []event.Event) error {
	posts := make(map[string]int64) // the n of each, by id
	for i := range events {
		switch e := &events[i]; e.Type {
		case event.PostCreated:
			post, err := e.Post()
			if err != nil {
				projection.Skip(e, err)
				continue
			}
			if err = tx.Exec("INSERT INTO posts (id, known) VALUES (?, 1) ON CONFLICT (id) DO UPDATE SET known = 1", post.ID); err != nil {
				return err
			}
		case event.CommentCreated, event.CommentUpdated:
			comment, err := e.Comment()
			if err != nil {
				projection.Skip(e, err)
				continue
			}
			post, known := posts[comment.PostID]
			if !known {
				if post, err = postOf(tx, comment.PostID); err != nil {
					return err
				}
				posts[comment.PostID] = post
			}
			if err = tx.Exec(`INSERT INTO comments (post, id, content, status) VALUES (?, ?, ?, ?)
				ON CONFLICT (id) DO UPDATE SET content = excluded.content, status = excluded.status
				WHERE excluded.status <> 'pending'`, post, comment.ID, event.Cut(comment.Content, event.MaxContent), comment.Status); err != nil {
				return err
			}
		case event.CommentModerated:
			comment, err := e.Comment()
			if err != nil {
				projection.Skip(e, err)
				continue
			}
			if err := decide(tx, e.Sequence, &comment); err != nil {
				return err
			}
		}
	}
	return nil
}

// decide keeps a decision, if it is the first. One of the log replaces one that
// came by hand, so that all copies know the same.
func decide(tx *projection.Tx, sequence event.Sequence, comment *event.Comment) error {
	if !comment.Status.Decided() {
		return nil
	}
	return tx.Exec(`INSERT INTO decisions VALUES (?, ?, ?) ON CONFLICT (comment)
		DO UPDATE SET sequence = excluded.sequence, status = excluded.status
		WHERE sequence = 0 AND excluded.sequence > 0`, comment.ID, sequence, comment.Status)
}

// postOf returns the n of a post, which is added if it is new.
func postOf(tx *projection.Tx, id string) (n int64, err error) {
	found, err := tx.Get("SELECT n FROM posts WHERE id = ?", []any{id}, &n)
	if err == nil && !found {
		_, err = tx.Get("INSERT INTO posts (id, known) VALUES (?, 0) RETURNING n", []any{id}, &n)
	}
	return n, err
}

// find returns a comment of a post, and its n.
func find(tx *projection.Tx, post, id string) (c event.Comment, n int64, found bool, err error) {
	found, err = tx.Get(`SELECT c.n, c.id, c.content, c.status FROM comments c JOIN posts p ON p.n = c.post
		WHERE c.id = ? AND p.id = ?`, []any{id, post}, &n, &c.ID, &c.Content, &c.Status)
	return c, n, found, err
}

// shown is a comment as readers see it.
type shown struct {
	ID      string       `json:"id"`
	Content string       `json:"content"` // withheld unless approved
	Status  event.Status `json:"status"`
}

const maxText = 512 << 10 // about how many bytes of JSON the texts in one answer take, at most

// after returns the comments of a post that follow the comment after, oldest
// first, at most limit; more tells whether others follow. known is false if there
// is no comment after.
func after(tx *projection.Tx, post, after string, limit int) (comments []shown, more, known bool, err error) {
	var start int64
	if after != "" {
		if _, start, known, err = find(tx, post, after); err != nil || !known {
			return nil, false, false, err
		}
	}
	comments, more, err = query(tx, limit, `SELECT id, content, status FROM comments
		WHERE post = (SELECT n FROM posts WHERE id = ?) AND n > ? ORDER BY n LIMIT +?`, post, start)
	return comments, more, true, err
}

// until returns the last comments of a post up to the one with n, oldest first, at
// most limit.
func until(tx *projection.Tx, post string, n int64, limit int) ([]shown, error) {
	comments, _, err := query(tx, limit, `SELECT id, content, status FROM comments
		WHERE post = (SELECT n FROM posts WHERE id = ?) AND n <= ? ORDER BY n DESC LIMIT +?`, post, n)
	slices.Reverse(comments)
	return comments, err
}

func query(tx *projection.Tx, limit int, text, post string, n int64) (comments []shown, more bool, err error) {
	comments = []shown{} // in JSON, none is [] and not null
	size := 0
	for row, err := range tx.Query(text, post, n, limit+1) {
		if err != nil {
			return nil, false, err
		}
		if len(comments) == limit || size > maxText {
			return comments, true, nil
		}
		var c shown
		if err := row.Scan(&c.ID, &c.Content, &c.Status); err != nil {
			return nil, false, err
		}
		c.Content = c.Status.Readable(c.Content)
		size += event.TextLen(c.Content)
		comments = append(comments, c)
	}
	return comments, false, nil
}
