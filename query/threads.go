package main

import (
	"strings"

	"miniblog/internal/event"
	"miniblog/internal/projection"
)

// thread is what has to be known of a post to add a comment.
type thread struct{ n, comments int64 }

// threads are those of the posts that were written to last, by post id, so that
// a comment does not cost a look at its post. They hold what the transaction
// that is open has written, and are dropped if it is taken back.
type threads map[string]*thread

// maxThreads bounds how many threads are kept between calls of apply.
const maxThreads = 100_000

// trim makes room.
func (ts *threads) trim() {
	if *ts == nil || len(*ts) > maxThreads {
		*ts = make(threads)
	}
}

// addPost adds a post, or its title if only its comments have told of it.
func (ts threads) addPost(tx *projection.Tx, post event.Post) error {
	if _, known := ts[post.ID]; !known {
		n, added, err := tx.Insert("INSERT INTO posts (id, title) VALUES (?, ?) ON CONFLICT DO NOTHING", post.ID, post.Title)
		if added { // its thread is empty, and need not be looked up
			ts[post.ID] = &thread{n: n}
		}
		if added || err != nil {
			return err
		}
	}
	err := tx.Exec("UPDATE posts SET title = ? WHERE id = ? AND title IS NULL", post.Title, post.ID)
	return err
}

// of returns the thread of a post, and adds the post if it is new.
func (ts threads) of(tx *projection.Tx, post string) (*thread, error) {
	if t := ts[post]; t != nil {
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
	ts[strings.Clone(post)] = t // post is part of a text that must not stay
	return t, nil
}
