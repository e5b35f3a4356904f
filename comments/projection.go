package main

import (
	"slices"

	"miniblog/internal/event"
	"miniblog/internal/projection"
	"miniblog/internal/service"
)

// schema: n is the order in which posts and comments came. A post that only
// its comments have told of so far is not known.
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
CREATE INDEX comments_of_post ON comments (post, n)`

// apply adds posts and comments and keeps decisions. Events may come twice, and
// from a bus without order in any order: a comment's first event adds it, and
// a decision is never taken back by an event that is older.
func apply(tx *projection.Tx, events []event.Event) error {
	met := make(map[string]int64) // posts, by n
	for i := range events {
		switch e := &events[i]; e.Type {
		case event.PostCreated:
			post, err := e.Post()
			if err != nil {
				projection.Skip(e, err)
				continue
			}
			if _, err = tx.Exec("INSERT INTO posts (id, known) VALUES (?, 1) ON CONFLICT (id) DO UPDATE SET known = 1", post.ID); err != nil {
				return err
			}
		case event.CommentCreated, event.CommentUpdated:
			comment, err := e.Comment()
			if err != nil {
				projection.Skip(e, err)
				continue
			}
			post, known := met[comment.PostID]
			if !known {
				if post, err = postOf(tx, comment.PostID); err != nil {
					return err
				}
				met[comment.PostID] = post
			}
			if _, err = tx.Exec(`INSERT INTO comments (post, id, content, status) VALUES (?, ?, ?, ?)
				ON CONFLICT (id) DO UPDATE SET content = excluded.content, status = excluded.status
				WHERE excluded.status <> 'pending'`, post, comment.ID, comment.Content, string(comment.Status)); err != nil {
				return err
			}
		}
	}
	return nil
}

// postOf returns the n of a post, which is added if it is new.
func postOf(tx *projection.Tx, id string) (n int64, err error) {
	found, err := tx.Get("SELECT n FROM posts WHERE id = ?", []any{id}, &n)
	if found || err != nil {
		return n, err
	}
	result, err := tx.Exec("INSERT INTO posts (id, known) VALUES (?, 0)", id)
	if err != nil {
		return 0, err
	}
	return result.LastInsertId()
}

// row is a comment and its place.
type row struct {
	n int64
	event.Comment
}

// find returns a comment of a post.
func find(tx *projection.Tx, post, id string) (c row, found bool, err error) {
	c.Comment = event.Comment{ID: id, PostID: post}
	found, err = tx.Get(`SELECT c.n, c.content, c.status FROM comments c JOIN posts p ON p.n = c.post
		WHERE c.id = ? AND p.id = ?`, []any{id, post}, &c.n, &c.Content, &c.Status)
	return c, found, err
}

// maxText bounds the text of one answer, in bytes, with comments of any length.
const maxText = 4 << 20

// after returns the comments of a post that follow the comment after, oldest
// first, at most limit; more tells whether others follow.
func after(tx *projection.Tx, post, after string, limit int) (comments []row, more bool, err error) {
	var start int64
	if after != "" {
		c, found, err := find(tx, post, after)
		if err != nil {
			return nil, false, err
		}
		if !found {
			return nil, false, service.Invalid("after", "This post has no comment %.140q to list the comments after.", after)
		}
		start = c.n
	}
	return query(tx, limit, `SELECT n, id, content, status FROM comments
		WHERE post = (SELECT n FROM posts WHERE id = ?) AND n > ? ORDER BY n LIMIT ?`, post, start)
}

// until returns the last comments of a post up to place n, oldest first, at
// most limit.
func until(tx *projection.Tx, post string, n int64, limit int) ([]row, error) {
	comments, _, err := query(tx, limit, `SELECT n, id, content, status FROM comments
		WHERE post = (SELECT n FROM posts WHERE id = ?) AND n <= ? ORDER BY n DESC LIMIT ?`, post, n)
	slices.Reverse(comments)
	return comments, err
}

func query(tx *projection.Tx, limit int, text string, post string, n int64) (comments []row, more bool, err error) {
	rows, err := tx.Query(text, post, n, limit+1)
	if err != nil {
		return nil, false, err
	}
	defer rows.Close()
	for size := 0; rows.Next(); {
		var c row
		if len(comments) == limit || size > maxText {
			return comments, true, nil
		}
		if err := rows.Scan(&c.n, &c.ID, &c.Content, &c.Status); err != nil {
			return nil, false, err
		}
		size += len(c.Content)
		comments = append(comments, c)
	}
	return comments, false, rows.Err()
}
