package push

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"miniblog/internal/disk/crashdisk"
	"miniblog/internal/event"
	"miniblog/test/wait"
)

// The notes in the trace: what a subscriber took, and which cursor was saved.
type (
	noteTaken struct{ event.Sequence }
	noteSaved struct{ event.Sequence }
)

// Whatever a crash leaves of a subscriber's files, they can be read, no cursor
// passes an event that was neither taken nor is among the dead letters, and none
// is behind one that was saved.
func TestCursorNeverLeadsItsDeliveriesAtAnyCrashPoint(t *testing.T) {
	t.Parallel()
	for name, faulty := range map[string]bool{"on a disk that works": false, "on a disk that fails at times": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			seed := rand.Uint64()
			random := rand.New(rand.NewPCG(seed, 0))
			trace := deliverOn(t, random, faulty)
			var taken []event.Sequence
			var saved event.Sequence
			states := 0
			for i, e := range trace {
				switch n := e.Note.(type) {
				case noteTaken:
					taken = append(taken, n.Sequence)
				case noteSaved:
					saved = n.Sequence
				}
				for _, way := range e.Crashes(20, random) {
					states++
					if err := keptBy(way.Disk(), taken, saved); err != nil {
						for _, e := range trace[max(0, i-20) : i+1] {
							t.Log(e.What)
						}
						t.Fatalf("%v; %v (seed %d)", way, err, seed)
					}
				}
			}
			if saved == 0 || states < len(trace) {
				t.Errorf("%d crash points, %d disks, the last cursor saved is %d", len(trace), states, saved)
			}
		})
	}
}

// deliverOn delivers events, every seventh of which becomes a dead letter, and
// is then delivered again, with the subscriber's files on a disk that crashes, and returns that disk's trace.
func deliverOn(t *testing.T, random *rand.Rand, faulty bool) []crashdisk.Entry {
	log, disk := openLog(t, t.TempDir()), crashdisk.New()
	var again atomic.Bool
	r := receive(t, func(w http.ResponseWriter, _ *http.Request, e event.Event) {
		if e.Sequence%7 == 0 && !again.Load() {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		disk.Note(noteTaken{e.Sequence})
	})
	config := Config{Log: log, Dir: t.TempDir(), Logger: quiet, FirstBackoff: time.Millisecond, MostBackoff: time.Millisecond, Attempts: 20}
	d, err := newDispatcher(config, r.subscriber("all"), forEver(newFileStore(config.Dir, "all")))
	if err != nil {
		t.Fatal(err)
	}
	d.store = &fileStore{folder: disk, name: "all", places: map[event.Sequence]place{}}
	if faulty {
		disk.Inject(func(op crashdisk.Op) *crashdisk.Fault {
			if random.IntN(12) > 0 {
				return nil
			}
			fault := &crashdisk.Fault{Err: syscall.EIO, Visible: random.IntN(2) == 0}
			if op.Kind == "syncdir" {
				fault.Done = 1 << 20
			}
			return fault
		})
	}
	p := &Pusher{seats: []*seat{{sub: d.sub, dispatcher: d}}, stopped: make(chan struct{})}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- p.Run(ctx) }()
	var last event.Sequence
	for range 12 {
		last = publish(t, log, subjects(5, 3)...)
		wait.Nil(t, "the deliveries", func() (err error) {
			doErr := d.do(ctx, func() {
				d.save()
				if d.saved == d.position {
					disk.Note(noteSaved{d.saved.Cursor})
				}
				if d.position.Cursor < last {
					err = fmt.Errorf("the cursor is %d of %d", d.position.Cursor, last)
				}
			})
			if doErr != nil {
				return doErr
			}
			return err
		})
	}
	again.Store(true)
	if _, err := p.Redeliver(t.Context(), "all", Selection{From: 1}, false); err != nil {
		t.Error(err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	return disk.Trace()
}

// keptBy compares what is on a disk with what was promised.
func keptBy(disk *crashdisk.Disk, taken []event.Sequence, saved event.Sequence) error {
	s := &fileStore{folder: disk, name: "all", places: map[event.Sequence]place{}}
	var letters letters
	p, _, err := s.Load(letters.add)
	if err != nil {
		return err
	}
	if p.Cursor < saved {
		return fmt.Errorf("the cursor is %d and was saved as %d", p.Cursor, saved)
	}
	for q := event.Sequence(1); q <= p.Cursor; q++ {
		if !letters.has(q) && !slices.Contains(taken, q) {
			return fmt.Errorf("the cursor is %d, and event %d was neither taken nor is it a dead letter", p.Cursor, q)
		}
	}
	return nil
}
