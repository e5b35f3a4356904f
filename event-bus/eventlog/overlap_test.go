package eventlog

import (
	"bytes"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"syscall"
	"testing"

	"miniblog/internal/disk/crashdisk"
)

// overlap publishes a large group and, while the disk is busy with it, the next.
// The first operation of that kind ends with fault once the writer has prepared
// both. It returns what the two were told.
func (w *world) overlap(kind string, fault *crashdisk.Fault, first, next []testEvent) (told [2]error, err error) {
	busy, held := make(chan struct{}), make(chan struct{})
	var once sync.Once
	w.disk.Inject(func(op crashdisk.Op) (f *crashdisk.Fault) {
		if op.Kind == kind {
			once.Do(func() { close(busy); <-held; f = fault })
		}
		return f
	})
	defer w.disk.Inject(nil)
	answers := [2]chan error{make(chan error, 1), make(chan error, 1)}
	publish := func(i int, records []testEvent) { answers[i] <- w.append(records...) }
	go publish(0, first)
	select {
	case <-busy:
	case err := <-answers[0]:
		return told, fmt.Errorf("it was answered without the disk: %w", err)
	}
	go publish(1, next)
	stacks := make([]byte, 1<<20)
	err = until("the next group was not prepared", func() bool {
		return bytes.Contains(stacks[:runtime.Stack(stacks, true)], []byte("eventlog.(*Log).settle("))
	})
	if len(answers[0]) > 0 || len(answers[1]) > 0 {
		err = errors.Join(err, errors.New("one was answered before the first was stored"))
	}
	close(held)
	for i := range told {
		told[i] = <-answers[i]
	}
	return told, err
}

// TestNextGroupIsPreparedWhileALargeOneIsStored, and goes on from what was stored.
func TestNextGroupIsPreparedWhileALargeOneIsStored(t *testing.T) {
	for _, test := range []struct {
		name, kind  string
		fault       *crashdisk.Fault
		first, next error
		last        int // sequence, after both events were published again
	}{
		{"all is well", "sync", nil, nil, nil, 2},
		{"the disk was full", "write", &crashdisk.Fault{Err: syscall.ENOSPC, Done: 48}, ErrFull, nil, 2},
		{"the disk failed", "sync", &crashdisk.Fault{Err: syscall.EIO}, ErrReadOnly, ErrReadOnly, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t, Options{splitBytes: 1 << 8})
			first, second := w.event(quoted(900)), w.event(quoted(30))
			told, err := w.overlap(test.kind, test.fault, []testEvent{first}, []testEvent{first, second})
			if err != nil || !errors.Is(told[0], test.first) || !errors.Is(told[1], test.next) {
				t.Fatalf("they were told %v, want %v and %v; %v", told, test.first, test.next, err)
			}
			if again := w.append(first, second); !errors.Is(again, test.next) || int(w.log.Last()) != test.last {
				t.Errorf("published again: %v, the log ends at %d, want %v, %d", again, w.log.Last(), test.next, test.last)
			}
		})
	}
}

// TestIDsAreForgottenWithTheirGroup, also where so many were stored that the older
// ones make room while it is on its way.
func TestIDsAreForgottenWithTheirGroup(t *testing.T) {
	w := newWorld(t, Options{})
	const most = 25_000
	for n := 0; n < remembered-1; n += most {
		mustAppend(t, w.log, records(t, n, min(most, remembered-1-n)))
	}
	first, second := w.event(quoted(300<<10)), w.event("")
	told, err := w.overlap("write", &crashdisk.Fault{Err: syscall.ENOSPC}, []testEvent{first}, []testEvent{second})
	if err != nil || !errors.Is(told[0], ErrFull) || told[1] != nil {
		t.Fatalf("they were told %v; %v", told, err)
	}
	for i, want := range []Position{{remembered, true}, {remembered + 1, false}} {
		if got := mustAppend(t, w.log, []testEvent{second, first}[i:i+1])[0]; got != want {
			t.Errorf("event %d is at %v, want %v", i+1, got, want)
		}
	}
}
