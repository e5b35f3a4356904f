package cluster

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"miniblog/event-bus/cluster/natstest"
	"miniblog/event-bus/push"
	"miniblog/internal/event"
)

// An owner whose clocks told it that it still was one could write dead letters and
// cursors beside the next owner.
func TestOwnerWhoseClockStoodStillWritesNothing(t *testing.T) {
	servers := natstest.Start(t, natstest.Options{})
	quiet := slog.New(slog.DiscardHandler)
	var copies []*Log
	for range 2 {
		l, err := Open(t.Context(), Config{Servers: servers.URL(), Dir: t.TempDir(), Logger: quiet})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		copies = append(copies, l)
	}
	nobody := func(context.Context, []byte) []byte { return nil }
	// own makes a copy the owner, and returns its store.
	own := func(o *Owners) (*push.Tenure, *tenure) {
		t.Helper()
		owned, err := o.Own(t.Context(), "a", nobody)
		if err != nil {
			t.Fatal(err)
		}
		return owned, owned.Store.(*tenure)
	}
	letters := func(s push.Store) (list []event.Sequence) {
		t.Helper()
		if _, _, err := s.Load(func(letter push.DeadLetter) { list = append(list, letter.Sequence) }); err != nil {
			t.Fatal(err)
		}
		return list
	}
	const lease = time.Second
	first, old := own(copies[0].Owners("first", lease))
	if err := first.Store.Add(push.DeadLetter{Sequence: 1, ID: "a", Answer: "no"}); err != nil {
		t.Fatal(err)
	}
	if err := first.Store.Save(push.Position{Cursor: 0, LastDelivered: 7}); err != nil {
		t.Fatal(err)
	}
	old.mu.Lock()
	old.renewed = time.Now().Add(time.Hour) // so it need not renew anything for long
	old.mu.Unlock()
	second, _ := own(copies[1].Owners("second", lease))
	defer second.End()
	if !first.Holds() {
		t.Fatal("the first one knows that it is not the owner: this test shows nothing")
	}
	if p, found, err := second.Store.Load(func(push.DeadLetter) {}); err != nil || !found || p.LastDelivered != 7 {
		t.Errorf("the second one begins at %+v, %v, %v", p, found, err)
	}
	// Whatever it writes first: a dead letter is refused for itself.
	if err := first.Store.Add(push.DeadLetter{Sequence: 2, ID: "b", Answer: "no"}); err == nil {
		t.Error("it could add a dead letter")
	}
	if err := first.Store.Save(push.Position{Cursor: 5}); err == nil {
		t.Error("it could save a cursor")
	}
	if err := first.Store.Remove(1); err == nil {
		t.Error("it could remove a dead letter")
	}
	if got := letters(second.Store); len(got) != 1 || got[0] != 1 {
		t.Errorf("the dead letters are %d", got)
	}
	select {
	case <-first.Over.Done():
	case <-time.After(10 * time.Second):
		t.Error("it still believes that it is the owner")
	}
	first.End()
	if err := second.Store.Save(push.Position{Cursor: 6}); err != nil {
		t.Errorf("the second one cannot save: %v", err)
	}
}
