package main

import (
	"context"
	"net/http"

	"miniblog/internal/feed"
	"miniblog/internal/pagecache"
	"miniblog/internal/projection"
	"miniblog/internal/web"
)

// query answers the requests.
//
//   - cache is cleared, and then feed told, at every commit that changed something.
//   - threads and news belong to apply, rolledBack and committed, of
//     which one runs at a time.
type query struct {
	view  *projection.Projection
	cache pagecache.Cache[selection]
	feed  *feed.Feed

	threads threads
	news    feed.Changes // of the transaction
}

// selection is what a page of posts is asked for by.
type selection struct {
	limit      int
	before, id string
}

// list answers GET /posts.
func (q *query) list(w http.ResponseWriter, r *http.Request) error {
	params := r.URL.Query()
	limit, err := web.Limit(params, 100, 1000) // the default, the most
	if err != nil {
		return err
	}
	s := selection{limit, params.Get("before"), params.Get("id")}
	if s.before != "" { // it may be known to another copy alone yet
		known, err := q.view.UntilRow(r.Context(), projection.Arrival, "SELECT 1 FROM posts WHERE id = ?", s.before)
		if err != nil {
			return err
		}
		if !known {
			return web.Invalid("before", "There is no post %.140q to list the posts before.", s.before)
		}
	}
	return q.cache.Answer(w, r, s, maxPage, func(ctx context.Context) (*pagecache.Page, error) {
		return q.render(ctx, s, r.URL)
	})
}
