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
// stops it, and applied again they change nothing.
func FuzzApply(f *testing.F) {
	for _, data := range []string{`{"id":"p","title":"T"}`, `{"id":"p","title":"Other"}`, `{"id":7}`, `null`, `[[]]`, `{"id":"","title":""}`,
		`{"id":"p","title":null}`, `{"id":"q","title":"\u0000\ud800"}`} {
		f.Add(data)
	}
	view, err := projection.Open(projection.Config{Dir: f.TempDir(), Bus: bus.New("http://localhost:1"), Schema: schema, Types: types, Apply: apply})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { view.Close() })
	posts := &posts{view: view}
	shown := func() string {
		w := httptest.NewRecorder()
		web.Handler(posts.list).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/posts?limit=1000", nil))
		return w.Body.String()
	}
	f.Fuzz(func(t *testing.T, data string) {
		if !jsontext.Value(data).IsValid() {
			t.Skip()
		}
		e := event.Event{Type: event.PostCreated, ID: "e", Data: jsontext.Value(data)}
		if err := view.ApplyNow(e); err != nil {
			t.Fatalf("%s: %v", data, err)
		}
		once := shown()
		if err := view.ApplyNow(e); err != nil {
			t.Fatalf("%s again: %v", data, err)
		}
		if twice := shown(); twice != once {
			t.Errorf("%s: applied once\n%s\ntwice\n%s", data, once, twice)
		}
		if !jsontext.Value(once).IsValid() {
			t.Errorf("the answer is not JSON: %s", once)
		}
	})
}
