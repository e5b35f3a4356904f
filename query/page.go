package main

import (
	"context"
	"net/http"
	"net/url"
	"strconv"

	"miniblog/internal/event"
	"miniblog/internal/pagecache"
	"miniblog/internal/projection"
	"miniblog/internal/web"
)

const (
	firstComments = 50      // that a post carries
	maxBody       = 4 << 20 // bytes after which a page ends before its limit
)

// render reads and writes a page of posts: an object by id, newest first.
func (q *query) render(ctx context.Context, s selection, u *url.URL) (*pagecache.Page, error) {
	header := http.Header{}
	body := append(make([]byte, 0, 8<<10), '{')
	err := q.view.Read(ctx, func(tx *projection.Tx) error {
		checkpoint, err := tx.Checkpoint()
		if err != nil {
			return err
		}
		header.Set("Event-Sequence", checkpoint.String())
		posts, err := selected(tx, s)
		if err != nil {
			return err
		}
		for i, p := range posts {
			if i == s.limit || len(body) > maxBody {
				web.LinkNext(header, u, s.limit, "before", posts[i-1].ID)
				break
			}
			if i > 0 {
				body = append(body, ',')
			}
			if body, err = appendPost(body, tx, &p); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return pagecache.NewPage(append(body, "}\n"...), header), nil
}

// post is a row of posts.
type post struct {
	n int64
	event.Post
}

// selected returns the posts of a page, and one more if there are more.
func selected(tx *projection.Tx, s selection) (posts []post, err error) {
	before := int64(1) << 62
	if s.before != "" {
		known, err := tx.Get("SELECT n FROM posts WHERE id = ?", []any{s.before}, &before)
		if err != nil {
			return nil, err
		}
		if !known {
			return nil, web.Invalid("before", "There is no post %.140q to list the posts before.", s.before)
		}
	}
	query, args := "SELECT n, id, title FROM posts WHERE n < ? AND title IS NOT NULL ORDER BY n DESC LIMIT ?", []any{before, s.limit + 1}
	if s.id != "" {
		query, args = "SELECT n, id, title FROM posts WHERE n < ? AND title IS NOT NULL AND id = ?", []any{before, s.id}
	}
	rows, err := tx.Query(query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var p post
		if err := rows.Scan(&p.n, &p.ID, &p.Title); err != nil {
			return nil, err
		}
		posts = append(posts, p)
	}
	return posts, rows.Err()
}

// appendPost appends a post with its first comments and their count.
func appendPost(body []byte, tx *projection.Tx, p *post) ([]byte, error) {
	body = event.AppendText(body, "", p.ID)
	body = event.AppendText(body, `:{"id":`, p.ID)
	body = event.AppendText(body, `,"title":`, p.Title)
	rows, err := tx.Query("SELECT id, content, status FROM comments WHERE post = ? ORDER BY k LIMIT ?", p.n, firstComments)
	if err != nil {
		return body, err
	}
	defer rows.Close()
	body = append(body, `,"comments":[`...)
	count := 0
	for ; rows.Next(); count++ {
		var c event.Comment
		if err := rows.Scan(&c.ID, &c.Content, &c.Status); err != nil {
			return body, err
		}
		if count > 0 {
			body = append(body, ',')
		}
		body = c.AppendTo(body, c.Status.Readable(c.Content))
	}
	if err := rows.Err(); err != nil {
		return body, err
	}
	if count == firstComments {
		if _, err := tx.Get("SELECT max(k) FROM comments WHERE post = ?", []any{p.n}, &count); err != nil {
			return body, err
		}
	}
	body = append(body, `],"commentCount":`...)
	return append(strconv.AppendInt(body, int64(count), 10), '}'), nil
}
