package main

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/go-json-experiment/json/jsontext"

	"miniblog/internal/bus"
	"miniblog/internal/event"
	"miniblog/internal/projection"
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
	view, err := projection.Open(projection.Config{Dir: f.TempDir(), Bus: bus.New("http://localhost:1"), Schema: schema, Types: types, Apply: apply})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { view.Close() })
	comments := &comments{view: view}
	// shown is what readers see of the post of the seeds, and what was decided.
	shown := func(t testing.TB) (thread string, decision event.Status) {
		r := httptest.NewRequest(http.MethodGet, "/posts/p/comments?limit=1000", nil)
		r.SetPathValue("id", "p")
		w := httptest.NewRecorder()
		web.Handler(comments.list).ServeHTTP(w, r)
		err := view.Read(t.Context(), func(tx *projection.Tx) error {
			_, err := tx.Get("SELECT status FROM decisions WHERE comment = 'decided'", nil, &decision)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return w.Body.String(), decision
	}
	decided := commentEvent(event.CommentModerated, "decided", "p", "x", event.Approved)
	f.Fuzz(func(t *testing.T, typ byte, data string) {
		if !jsontext.Value(data).IsValid() {
			t.Skip()
		}
		e := event.Event{Type: types[int(typ)%len(types)], ID: "e", Data: jsontext.Value(data)}
		if err := view.ApplyNow(decided); err != nil {
			t.Fatal(err)
		}
		if err := view.ApplyNow(e); err != nil {
			t.Fatalf("%s: %v", data, err)
		}
		once, decision := shown(t)
		if err := view.ApplyNow(e); err != nil {
			t.Fatalf("%s again: %v", data, err)
		}
		if twice, _ := shown(t); twice != once {
			t.Errorf("%s: applied once\n%s\ntwice\n%s", data, once, twice)
		}
		if !jsontext.Value(once).IsValid() {
			t.Errorf("the answer is not JSON: %s", once)
		}
		if decision != event.Approved {
			t.Errorf("%s changed the first decision to %q", data, decision)
		}
	})
}
