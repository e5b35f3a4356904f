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
// stops it, applied again they change nothing, and a comment that is decided stays so.
func FuzzApply(f *testing.F) {
	for i := range types {
		for _, data := range []string{`{"id":"p","title":"T"}`, `{"id":"c","postId":"p","content":"x","status":"approved"}`,
			`{"id":"c","postId":"p","content":"x","status":"rejected"}`, `{"id":"c","postId":"p","content":"y","status":"pending"}`,
			`{"id":7}`, `null`, `[[]]`, `{"id":"","postId":""}`, `{"id":"d","postId":"p","status":"other"}`, `{"id":"decided","postId":"p","content":"x","status":"rejected"}`} {
			f.Add(byte(i), data)
		}
	}
	view := projectiontest.Open(f, projection.Config{Schema: schema, Types: types, Apply: apply})
	comments := &comments{view: view}
	shown := func() string {
		r := httptest.NewRequest(http.MethodGet, "/posts/p/comments?limit=1000", nil)
		r.SetPathValue("id", "p")
		w := httptest.NewRecorder()
		web.Handler(comments.list).ServeHTTP(w, r)
		return w.Body.String()
	}
	if err := view.ApplyNow(commentEvent(event.CommentModerated, "decided", "p", "x", event.Approved)); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, typ byte, data string) {
		projectiontest.ApplyTwice(t, view, types[int(typ)%len(types)], data, shown)
		var decision event.Status
		err := view.Read(t.Context(), func(tx *projection.Tx) error {
			_, err := tx.Get("SELECT status FROM decisions WHERE comment = 'decided'", nil, &decision)
			return err
		})
		if err != nil || decision != event.Approved {
			t.Errorf("%s changed the first decision to %q, %v", data, decision, err)
		}
	})
}
