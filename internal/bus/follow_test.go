package bus_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"miniblog/internal/bus"
	"miniblog/internal/bus/bustest"
	"miniblog/internal/event"
)

// until follows until the reader is at a sequence, and returns what came.
func until(t *testing.T, s *bus.Stream, to event.Sequence) (ids string, at bus.Checkpoint) {
	t.Helper()
	for at.Sequence < to {
		events, now, err := s.Next()
		if err != nil {
			t.Fatalf("after %q: %v", ids, err)
		}
		for _, e := range events {
			ids += e.ID + " "
		}
		at = now
	}
	return ids, at
}

func ofType(typ string, ids ...string) (events []event.Event) {
	for _, id := range ids {
		events = append(events, event.New(id, "/test", typ, id, nil))
	}
	return events
}

func TestFollowBringsWhatIsWantedAndPassesTheRest(t *testing.T) {
	b := bustest.New(t)
	c := client(t, b)
	b.Add(ofType("A", "a1")...)
	s, err := c.Follow(t.Context(), bus.Checkpoint{Sequence: 1, ID: "a1"}, []string{"A", "B"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if s.Log == "" || s.Last != 1 {
		t.Errorf("log %q, last %d", s.Log, s.Last)
	}
	b.Add(append(ofType("A", "a2"), ofType("Other", "o1", "o2")...)...)
	b.Add(ofType("B", "b1")...)
	b.Add(ofType("Other", "o3")...)
	ids, at := until(t, s, 6)
	if ids != "a2 b1 " || at != (bus.Checkpoint{Sequence: 6, ID: "o3"}) {
		t.Errorf("%q came, up to %+v", ids, at)
	}
	long := event.New("long", "/test", "A", "", strings.Repeat("x", 500_000))
	b.Add(long)
	events, at, err := s.Next()
	if err != nil || len(events) != 1 || string(events[0].Data) != string(long.Data) || at.ID != "long" {
		t.Errorf("%d events up to %+v, %v", len(events), at, err)
	}
}

func TestFollowEndsWhereItHasToBeFetched(t *testing.T) {
	b := bustest.New(t)
	for range 6 {
		b.Add(event.New(event.NewID(), "/test", "A", "", strings.Repeat("x", 1_000_000)))
	}
	s, err := client(t, b).Follow(t.Context(), bus.Checkpoint{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, at, err := s.Next(); err != io.EOF || at.Sequence != 0 {
		t.Errorf("%v at %d", err, at.Sequence)
	}
}

func TestAnotherHistoryIsSaid(t *testing.T) {
	b := bustest.New(t)
	c := client(t, b)
	b.Add(ofType("A", "a1", "a2")...)
	for name, from := range map[string]bus.Checkpoint{"another event": {Sequence: 2, ID: "other"}, "beyond the end": {Sequence: 3, ID: "a3"}} {
		if _, err := c.Follow(t.Context(), from, nil); !errors.Is(err, bus.ErrOtherHistory) {
			t.Errorf("following from %s: %v", name, err)
		}
		if _, err := c.Fetch(t.Context(), from, 0); !errors.Is(err, bus.ErrOtherHistory) {
			t.Errorf("fetching from %s: %v", name, err)
		}
	}
}

func TestBusThatCannotBeFollowedSaysSo(t *testing.T) {
	old := bustest.New(t)
	old.ForgetFollow()
	for name, b := range map[string]*bustest.Bus{"an older bus": old, "a simple bus": bustest.NewSimple(t)} {
		if _, err := client(t, b).Follow(t.Context(), bus.Checkpoint{}, nil); !errors.Is(err, bus.ErrNoFollow) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestSilentBusIsGivenUp: a connection may be dead without anybody having said so.
func TestSilentBusIsGivenUp(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Event-Follow", "1s")
		w.Header().Set("Event-Log", "log")
		w.Header().Set("Event-Sequence-Last", "0")
		http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}))
	defer server.Close()
	c := bus.New(server.URL)
	defer c.Close()
	bus.SetPatience(c, 200*time.Millisecond)
	began := time.Now()
	s, err := c.Follow(t.Context(), bus.Checkpoint{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Next(); err == nil || !strings.Contains(err.Error(), "silent") {
		t.Errorf("it ended with %v", err)
	}
	if took := time.Since(began); took > 8*time.Second {
		t.Errorf("it took %v", took)
	}
}

func TestFollowTakesNothingTwiceOrUnread(t *testing.T) {
	const one = `{"specversion":"1.0","sequence":"00000000000000000001","id":"a","type":"A"}` + "\n"
	for name, body := range map[string]string{
		"an event again":   one + one,
		"half an event":    one + one[:40],
		"not an event":     "nonsense\n",
		"half a mark":      one + `{"passed":"7`,
		"a mark of no use": `{"passed":[]}` + "\n",
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Event-Follow", "1s")
			w.Header().Set("Event-Log", "log")
			w.Header().Set("Event-Sequence-Last", "0")
			io.WriteString(w, body)
		}))
		c := bus.New(server.URL)
		s, err := c.Follow(t.Context(), bus.Checkpoint{}, nil)
		for err == nil {
			_, _, err = s.Next()
		}
		if err == io.EOF {
			t.Errorf("%s is taken", name)
		}
		c.Close()
		server.Close()
	}
}
