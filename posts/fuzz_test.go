package main

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"miniblog/internal/event"
	"miniblog/internal/projection"
	"miniblog/internal/projection/projectiontest"
	"miniblog/internal/web"
)

// FuzzApply hands events with data of any shape to the projection: none of them
// stops it, and applied again they change nothing.
func FuzzApply(f *testing.F) {
	for _, data := range []string{`{"id":"p","title":"T"}`, `{"id":"p","title":"Other"}`, `{"id":7}`, `null`, `[[]]`, `{"id":"","title":""}`,
		`{"id":"p","title":null}`, `{"id":"q","title":"\u0000\ufffd"}`} {
		f.Add(data)
	}
	view := projectiontest.Open(f, projection.Config{Schema: schema, Types: types, Apply: apply})
	posts := &posts{view: view}
	shown := func() string {
		w := httptest.NewRecorder()
		web.Handler(posts.list).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/posts?limit=1000", nil))
		return w.Body.String()
	}
	f.Fuzz(func(t *testing.T, data string) { projectiontest.ApplyTwice(t, view, event.PostCreated, data, shown) })
}
