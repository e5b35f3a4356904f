package main

import (
	"context"
	"net/http"
	"net/url"

	"miniblog/internal/event"
	"miniblog/internal/pagecache"
	"miniblog/internal/projection"
	"miniblog/internal/web"
)

const (
	firstComments = 50      // that a post carries
	maxBody       = 1 << 20 // bytes after which a page ends before its limit
	maxPage       = 4 << 20 // bytes of the longest page: its last post has the longest comments
)

// render reads and writes a page of posts: an object by id, newest first.
func (q *query) render(ctx context.Context, s selection, u *url.URL) (*pagecache.Page, error) {
	header, answer := http.Header{}, web.NewObject()
	err := q.view.Read(ctx, func(tx *projection.Tx) error {
		posts, err := selected(tx, s)
		if err != nil {
			return err
		}
		if err := tx.Describe(header); err != nil {
			return err
		}
		for i, p := range posts {
			if i == s.limit || answer.Len() > maxBody {
				web.LinkNext(header, u, s.limit, "before", posts[i-1].ID)
				break
			}
			if err := p.readComments(tx); err != nil {
				return err
			}
			if err := answer.Add(p.ID, &p); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return pagecache.NewPage(answer.End(), header), nil
}

// post is a post as readers see it.
type post struct {
	n            int64
	ID           string    `json:"id"`
	Title        string    `json:"title"`
	Comments     []comment `json:"comments"` // the first ones
	CommentCount int       `json:"commentCount"`
}

// comment is a comment as readers see it.
type comment struct {
	ID      string       `json:"id"`
	Content string       `json:"content"`
	Status  event.Status `json:"status"`
}

// selected returns the posts of a page, and one more if there are more.
func selected(tx *projection.Tx, s selection) (posts []post, err error) {
	query, args := `SELECT n, id, title FROM posts WHERE n < coalesce((SELECT n FROM posts WHERE id = ?), 1 << 62) AND title IS NOT NULL
		ORDER BY n DESC LIMIT +?`, []any{s.before, s.limit + 1}
	if s.id != "" {
		query, args = "SELECT n, id, title FROM posts WHERE title IS NOT NULL AND id = ?", []any{s.id}
	}
	for row, err := range tx.Query(query, args...) {
		if err != nil {
			return nil, err
		}
		var p post
		if err := row.Scan(&p.n, &p.ID, &p.Title); err != nil {
			return nil, err
		}
		posts = append(posts, p)
	}
	return posts, nil
}

// readComments reads the post's first comments and their count.
func (p *post) readComments(tx *projection.Tx) error {
	p.Comments = []comment{} // in JSON, none is [] and not null
	for row, err := range tx.Query("SELECT id, content, status FROM comments WHERE post = ? ORDER BY k LIMIT +?", p.n, firstComments) {
		if err != nil {
			return err
		}
		var c comment
		if err := row.Scan(&c.ID, &c.Content, &c.Status); err != nil {
			return err
		}
		p.Comments = append(p.Comments, c)
	}
	p.CommentCount = len(p.Comments)
	if p.CommentCount < firstComments {
		return nil
	}
	_, err := tx.Get("SELECT max(k) FROM comments WHERE post = ?", []any{p.n}, &p.CommentCount)
	return err
}
