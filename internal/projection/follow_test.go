package projection_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"miniblog/internal/bus/bustest"
	"miniblog/internal/event"
	"miniblog/internal/projection"
	"miniblog/test/wait"
)

// others are events that no projection here needs.
func others(n int) (events []event.Event) {
	for i := range n {
		events = append(events, event.New(event.NewID(), "/test", "Other", "", i))
	}
	return events
}

// stored returns the checkpoint in the database.
func (v *view) stored(t *testing.T) (checkpoint event.Sequence) {
	t.Helper()
	if err := v.Read(t.Context(), func(tx *projection.Tx) (err error) {
		_, checkpoint, err = tx.Checkpoint()
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return checkpoint
}

// TestEventsOfOtherTypesAreNoTransaction: the checkpoint passes them in memory, is
// saved with the next change, and at the end.
func TestEventsOfOtherTypesAreNoTransaction(t *testing.T) {
	for name, prepare := range map[string]func(*bustest.Bus){
		"followed":            func(*bustest.Bus) {},
		"fetched, by polling": (*bustest.Bus).ForgetFollow,
	} {
		t.Run(name, func(t *testing.T) {
			b, dir := bustest.New(t), t.TempDir()
			prepare(b)
			b.Add(posts("a")...)
			v := &view{}
			c := config(b, dir, v)
			c.Types = []string{event.PostCreated}
			v.run(t, c).expect(t, "a ")
			for n := range 2 {
				b.Add(others(10)...)
				wait.For(t, "the others", func() bool { return v.Checkpoint() == event.Sequence(11+10*n) })
			}
			if at := v.stored(t); at != 1 {
				t.Errorf("the database is at %d", at)
			}
			b.Add(posts("b")...)
			v.expect(t, "a b ")
			if at := v.stored(t); at != 22 {
				t.Errorf("with a change the database is at %d", at)
			}
			b.Add(others(3)...)
			wait.For(t, "the others", func() bool { return v.Checkpoint() == 25 })
			v.stop()
			p, err := projection.Open(c)
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			if p.Checkpoint() != 25 {
				t.Errorf("after the end it is at %d", p.Checkpoint())
			}
		})
	}
}

// TestVolumeRolledBackIsNoticed: the log has the same id and is as long, but holds
// other events behind the checkpoint.
func TestVolumeRolledBackIsNoticed(t *testing.T) {
	for name, last := range map[string][]event.Event{"at an event": posts("c"), "at an event that was passed": append(posts("c"), others(2)...)} {
		t.Run(name, func(t *testing.T) {
			b, dir := bustest.New(t), t.TempDir()
			v := &view{}
			c := config(b, dir, v)
			c.Types = []string{event.PostCreated}
			b.Add(posts("a", "b")...)
			v.run(t, c)
			v.expect(t, "a b ")
			b.Add(last...)
			wait.For(t, "all of it", func() bool { return v.Checkpoint() == event.Sequence(2+len(last)) })
			v.stop()
			b.Truncate(1)
			var later []string
			for i := range 5 {
				later = append(later, fmt.Sprint("later", i))
			}
			b.Add(posts(later...)...)
			v = &view{}
			c = config(b, dir, v)
			c.Types = []string{event.PostCreated}
			v.run(t, c).expect(t, "a later0 later1 later2 later3 later4 ")
		})
	}
}

// TestOldDataIsReadUntilTheNewIsWhole: after the log was replaced, readers used to
// see an empty blog that filled up.
func TestOldDataIsReadUntilTheNewIsWhole(t *testing.T) {
	t.Run("another history", func(t *testing.T) { isReadUntilTheNewIsWhole(t) })
	t.Run("the same events under another id", func(t *testing.T) { isReadUntilTheNewIsWhole(t, "a", "b") })
}

// isReadUntilTheNewIsWhole: the new log begins with kept.
func isReadUntilTheNewIsWhole(t *testing.T, kept ...string) {
	b, dir := bustest.New(t), t.TempDir()
	b.Add(posts("a", "b")...)
	v := &view{}
	c := config(b, dir, v)
	apply, held := c.Apply, make(chan struct{})
	c.Apply = func(tx *projection.Tx, events []event.Event) error {
		if slices.ContainsFunc(events, func(e event.Event) bool { return e.ID == "id-of-x0" }) {
			<-held
		}
		return apply(tx, events)
	}
	v.run(t, c).expect(t, "a b ")
	log := v.Log()
	others, want := posts(kept...), strings.Join(append(kept, ""), " ")
	for i := range 200 - len(kept) {
		others = append(others, posts(fmt.Sprint("x", i))...)
		want += fmt.Sprint("x", i, " ")
	}
	b.Become(false, others...)
	wait.For(t, "a database beside", func() bool { _, err := os.Stat(filepath.Join(dir, "projection-next.db")); return err == nil })
	for range 20 {
		if got := v.titles(t); got != "a b " {
			t.Fatalf("while it is built again, %q can be read", got)
		}
	}
	if v.Ready() != nil {
		t.Error("it was ready, and is no more")
	}
	limited, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := v.WaitFor(limited, 1); err == nil { // event 1 of the new log cannot be read yet
		t.Error("what is read is taken for the new log's")
	}
	close(held)
	for got := v.titles(t); got != want; got = v.titles(t) {
		if got != "a b " {
			t.Fatalf("a part is read: %.100q", got)
		}
	}
	if v.Log() == log || v.Checkpoint() != 200 {
		t.Errorf("log %s, checkpoint %d", v.Log(), v.Checkpoint())
	}
	b.Add(posts("new")...)
	v.expect(t, want+"new ")
	v.stop()
	start(t, b, dir).expect(t, want+"new ")
}

// TestFailureWhileBuildingStartsAgain: what is built has no journal to take a
// transaction back with.
func TestFailureWhileBuildingStartsAgain(t *testing.T) {
	b := bustest.New(t)
	b.Add(posts("a")...)
	v := start(t, b, t.TempDir())
	v.expect(t, "a ")
	v.failures.Store(3)
	b.Become(false, posts("x", "y", "z")...)
	v.expect(t, "x y z ")
	b.Add(posts("new")...)
	v.expect(t, "x y z new ")
}
