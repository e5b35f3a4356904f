package main

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"miniblog/internal/feed"
	"miniblog/internal/projection"
	"miniblog/internal/projection/projectiontest"
	"miniblog/internal/web"
)

// FuzzApply hands events with data of any shape to the projection: none of them
// stops it, and applied again they change nothing.
func FuzzApply(f *testing.F) {
	for _, data := range []string{`{"id":"p","title":"T"}`, `{"id":"c","postId":"p","content":"x","status":"approved"}`, `{"id":7}`, `null`,
		`[[]]`, `{"id":"","postId":""}`, `{"id":"c","postId":"p","status":"other"}`, `{"id":"p","title":null}`} {
		f.Add(byte(0), data)
		f.Add(byte(1), data)
		f.Add(byte(2), data)
	}
	var q query
	view := projectiontest.Open(f, projection.Config{Schema: schema, Types: types, Apply: q.apply, RolledBack: q.rolledBack, Committed: q.committed})
	q.view, q.feed = view, feed.New("", 0)
	shown := func() string {
		w := httptest.NewRecorder()
		web.Handler(q.list).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/posts?limit=1000", nil))
		return w.Body.String()
	}
	f.Fuzz(func(t *testing.T, typ byte, data string) {
		projectiontest.ApplyTwice(t, view, types[int(typ)%len(types)], data, shown)
	})
}
