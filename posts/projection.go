package main

import (
	"log/slog"

	"miniblog/internal/event"
	"miniblog/internal/projection"
)

// schema: n is the order in which posts came; newest first is descending n.
const schema = `
CREATE TABLE posts (
	n     INTEGER PRIMARY KEY,
	id    TEXT NOT NULL UNIQUE,
	title TEXT NOT NULL
)`

// types are the types of event that apply uses.
var types = []string{event.PostCreated}

// apply adds the posts that were created. The first event of an id counts;
// a title that is too long, from a publisher without our limit, is cut.
func apply(tx *projection.Tx, events []event.Event) error {
	for i := range events {
		e := &events[i]
		if e.Type != event.PostCreated {
			continue
		}
		post, err := e.Post()
		if err != nil {
			projection.Skip(e, err)
			continue
		}
		if err := tx.Exec("INSERT INTO posts (id, title) VALUES (?, ?) ON CONFLICT DO NOTHING", post.ID, event.Cut(post.Title, event.MaxTitle)); err != nil {
			return err
		}
		slog.Debug("post applied", "post", post.ID, "event", e.ID, "sequence", e.Sequence.String())
	}
	return nil
}

// find returns the title of a post.
func find(tx *projection.Tx, id string) (title string, known bool, err error) {
	known, err = tx.Get("SELECT title FROM posts WHERE id = ?", []any{id}, &title)
	return title, known, err
}

// page returns at most limit posts, newest first: those older than the post
// before, unless that is "". more tells whether older ones are left; known is
// false if there is no post before.
func page(tx *projection.Tx, limit int, before string) (posts []event.Post, more, known bool, err error) {
	end := int64(1) << 62
	if before != "" {
		known, err := tx.Get("SELECT n FROM posts WHERE id = ?", []any{before}, &end)
		if err != nil || !known {
			return nil, false, false, err
		}
	}
	for row, err := range tx.Query("SELECT id, title FROM posts WHERE n < ? ORDER BY n DESC LIMIT +?", end, limit+1) {
		if err != nil {
			return nil, false, true, err
		}
		var post event.Post
		if err := row.Scan(&post.ID, &post.Title); err != nil {
			return nil, false, true, err
		}
		posts = append(posts, post)
	}
	if len(posts) > limit {
		return posts[:limit], true, true, nil
	}
	return posts, false, true, nil
}
