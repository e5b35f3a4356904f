package eventlog

import (
	"testing"

	"miniblog/internal/event"
)

func TestAnIdIsKnownForExactlyTheEventsBeforeIt(t *testing.T) {
	const most = 25_000 // of one Append
	dir := t.TempDir()
	l := mustOpen(t, dir, Options{})
	defer func() { mustClose(t, l) }()
	restart := func() {
		mustClose(t, l)
		l = mustOpen(t, dir, Options{})
	}
	first, second := record(t, "first", ""), record(t, "second", "")
	mustAppend(t, l, []testEvent{first, second})
	for n := 2; n < remembered; n += most {
		mustAppend(t, l, records(t, n, min(most, remembered-n)))
	}
	for _, reopened := range []bool{false, true} {
		if reopened {
			restart()
		}
		if got, want := mustAppend(t, l, []testEvent{first})[0], (Position{1, true}); got != want {
			t.Errorf("event 1 is the last of the %d before this one, reopened %v: it was stored at %v, want %v", remembered, reopened, got, want)
		}
	}
	mustAppend(t, l, records(t, remembered, 1))
	restart()
	for i, want := range []Position{{remembered + 2, false}, {remembered + 2, true}} {
		if got := mustAppend(t, l, []testEvent{first})[0]; got != want {
			t.Errorf("event 1 is older than the %d events before this one, attempt %d: it was stored at %v, want %v", remembered, i+1, got, want)
		}
	}
	if got, want := mustAppend(t, l, []testEvent{second})[0], (Position{remembered + 3, false}); got != want {
		t.Errorf("without a restart: the event was stored at %v, want %v", got, want)
	}
}

func TestAnIdThatCouldNotBeStoredLeavesTheOlderOne(t *testing.T) {
	var x ids
	key := event.KeyOf([]byte("id"))
	x.rotate()
	x.add(key, 1)
	x.rotate()
	x.add(key, 1+remembered+1)
	x.forget([]event.Key{key}, 1+remembered+1)
	if sequence, ok := x.find(key, 1+remembered); sequence != 1 || !ok {
		t.Errorf("found %d, %v after the newer one was taken back; want 1, true", sequence, ok)
	}
}
