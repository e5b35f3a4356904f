package projection_test

import (
	"testing"

	"miniblog/internal/bus/bustest"
	"miniblog/test/wait"
)

func TestEventByHandIsAppliedAtOnce(t *testing.T) {
	b := bustest.New(t)
	b.Add(posts("a")...)
	v := start(t, b, t.TempDir())
	v.expect(t, "a ")
	hand := posts("hand", "pushed")
	for range 2 { // twice changes nothing
		if err := v.ApplyNow(hand[0]); err != nil {
			t.Fatal(err)
		}
	}
	hand[1].Sequence = 2
	if err := v.ApplyNow(hand[1]); err != nil { // fetch brings it, if it is in the log
		t.Fatal(err)
	}
	if got := v.titles(t); got != "a hand " || v.Checkpoint() != 1 {
		t.Errorf("stored %q at %d", got, v.Checkpoint())
	}
	b.Add(posts("b")...)
	v.expect(t, "a hand b ")
}

func TestSimpleBus(t *testing.T) {
	t.Run("its array is applied, pushes bring the rest", func(t *testing.T) {
		b := bustest.NewSimple(t)
		b.Add(posts("a", "b")...)
		v := start(t, b, t.TempDir())
		v.expect(t, "a b ")
		wait.For(t, "being ready", func() bool { return v.Ready() == nil })
		pushed := posts("c")[0]
		pushed.Sequence = 77 // of no meaning here
		if err := v.ApplyNow(pushed); err != nil {
			t.Fatal(err)
		}
		if got := v.titles(t); got != "a b c " || v.Checkpoint() != 0 {
			t.Errorf("stored %q at %d", got, v.Checkpoint())
		}
	})
	t.Run("a log that comes later replaces it", func(t *testing.T) {
		b, dir := bustest.NewSimple(t), t.TempDir()
		b.Add(posts("a", "b")...)
		v := start(t, b, dir)
		v.expect(t, "a b ")
		wait.For(t, "being ready", func() bool { return v.Ready() == nil })
		v.stop()
		b.Become(false, posts("x")...)
		start(t, b, dir).expect(t, "x ")
	})
	t.Run("it takes over from a log without losing data", func(t *testing.T) {
		b, dir := bustest.New(t), t.TempDir()
		b.Add(posts("a")...)
		v := start(t, b, dir)
		v.expect(t, "a ")
		b.Become(true, posts("b")...)
		b.Stop() // ends the fetch that waits
		b.Restart(t)
		v.expect(t, "a b ")
	})
}
