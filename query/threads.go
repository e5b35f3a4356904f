package main

import (
	"miniblog/internal/event"
	"miniblog/internal/projection"
)

// thread is what has to be known of a post to add a comment.
type thread struct{ n, comments int64 }

// threads are those of the posts that were written to last, by post id, so that
// a comment does not cost a look at its post. They hold what the transaction
// that is open has written, and are dropped if it is taken back.
type threads map[event.Key]thread

// maxThreads bounds how many threads are kept between calls of apply: 20 MB without a pointer.
const maxThreads = 400_000

// trim makes room.
func (ts *threads) trim() {
	if *ts == nil {
		*ts = make(threads)
	}
	if len(*ts) > maxThreads {
		clear(*ts)
	}
}

// addPost adds a post, or its title if only its comments have told of it.
func (ts threads) addPost(tx *projection.Tx, post event.Post) error {
	key := event.KeyOf(post.ID)
	if _, known := ts[key]; !known {
		n, added, err := tx.Insert("INSERT INTO posts (id, title) VALUES (?, ?) ON CONFLICT DO NOTHING", post.ID, post.Title)
		if added { // its thread is empty, and need not be looked up
			ts[key] = thread{n: n}
		}
		if added || err != nil {
			return err
		}
	}
	return tx.Exec("UPDATE posts SET title = ? WHERE id = ? AND title IS NULL", post.Title, post.ID)
}

// load makes ts hold the thread of a post, which is added if it is new.
func (ts threads) load(tx *projection.Tx, post string) error {
	key := event.KeyOf(post)
	if _, known := ts[key]; known {
		return nil
	}
	var t thread
	known, err := tx.Get("SELECT n, (SELECT coalesce(max(k), 0) FROM comments WHERE post = posts.n) FROM posts WHERE id = ?", []any{post}, &t.n, &t.comments)
	if err == nil && !known {
		_, err = tx.Get("INSERT INTO posts (id) VALUES (?) RETURNING n", []any{post}, &t.n)
	}
	if err == nil {
		ts[key] = t
	}
	return err
}
