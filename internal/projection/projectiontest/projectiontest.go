// Package projectiontest holds the projections of the services to what all of them
// promise.
package projectiontest

import (
	"testing"

	"github.com/go-json-experiment/json/jsontext"

	"miniblog/internal/bus"
	"miniblog/internal/event"
	"miniblog/internal/projection"
)

// Open opens a projection of a bus that is away, in a folder of its own.
func Open(t testing.TB, config projection.Config) *projection.Projection {
	t.Helper()
	config.Dir, config.Bus = t.TempDir(), bus.New("http://localhost:1")
	view, err := projection.Open(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { view.Close() })
	return view
}

// ApplyTwice applies an event of the given type with data of any shape, which must
// not stop the projection; again, it must change nothing. shown returns what readers
// see, which must be JSON. Data that is not JSON skips the test: the bus takes none.
func ApplyTwice(t *testing.T, view *projection.Projection, typ, data string, shown func() string) {
	t.Helper()
	if !jsontext.Value(data).IsValid() {
		t.Skip("it is no JSON, and the bus takes none")
	}
	e := event.Event{Type: typ, ID: "e", Data: jsontext.Value(data)}
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
}
