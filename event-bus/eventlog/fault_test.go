package eventlog

import (
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"

	"miniblog/internal/disk/crashdisk"
)

// faults are the ways in which one operation fails, and which they are.
var faults = []struct {
	name  string
	kinds []string // empty: all
	fault crashdisk.Fault
}{
	{"EIO", nil, crashdisk.Fault{Err: syscall.EIO, Visible: true}},
	{"EIO although it was done", []string{"reserve", "truncate", "rename", "remove", "forget", "sync", "syncdir"}, crashdisk.Fault{Err: syscall.EIO, Done: 1, Visible: true}},
	{"EIO, and what was dropped is seen no more", []string{"sync", "syncdir"}, crashdisk.Fault{Err: syscall.EIO}},
	{"EIO after a part", []string{"write"}, crashdisk.Fault{Err: syscall.EIO, Done: 60}},
	{"the disk is full", []string{"create", "reserve", "write", "rename", "sync", "syncdir"}, crashdisk.Fault{Err: syscall.ENOSPC, Visible: true}},
	{"the disk is full after a part", []string{"write"}, crashdisk.Fault{Err: syscall.ENOSPC, Done: 60}},
	{"too many open files", []string{"create", "open"}, crashdisk.Fault{Err: syscall.EMFILE}},
}

// TestEachOperationFails lets every operation of a log's life fail, each in a
// run of its own. After that the log takes events, or says that it takes no
// more and can still be read; and nothing that it promised is lost when it is
// started again, by a process or after a crash.
func TestEachOperationFails(t *testing.T) {
	for _, f := range faults {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			c := newCrasher(newRandom(t))
			var n atomic.Int64 // operations of this kind
			count := func(op crashdisk.Op) bool {
				return (f.kinds == nil || slices.Contains(f.kinds, op.Kind)) && n.Add(1) > 0
			}
			if err := runFailing(func(op crashdisk.Op) *crashdisk.Fault { count(op); return nil }, c); err != nil {
				t.Fatal(err)
			}
			all := n.Load()
			runs := 0
			for fails := int64(1); fails <= all; fails++ {
				if !*exhaustive && c.random.Int64N(all) >= 8 {
					continue
				}
				runs++
				n.Store(0)
				var failed atomic.Value
				err := runFailing(func(op crashdisk.Op) *crashdisk.Fault {
					if !count(op) || n.Load() != fails || !failed.CompareAndSwap(nil, op.String()) {
						return nil
					}
					return &f.fault
				}, c)
				if err != nil {
					t.Fatalf("%v failed with %v: %v", failed.Load(), f.fault.Err, err)
				}
			}
			t.Logf("%d of %d operations failed", runs, all)
		})
	}
}

// A disk without room refuses events and loses none; when there is room the
// log goes on without a restart.
func TestFullDiskHealsWhenThereIsRoom(t *testing.T) {
	disk := crashdisk.New()
	w, err := openWorld(disk, disk, Options{SegmentBytes: 1 << 10})
	if err != nil {
		t.Fatal(err)
	}
	for _, room := range []int{0, 48, 100, 300} {
		for _, data := range []string{quoted(20), quoted(900), `""`} {
			disk.Inject(func(op crashdisk.Op) *crashdisk.Fault {
				switch op.Kind {
				case "create", "write":
					return &crashdisk.Fault{Err: syscall.ENOSPC, Done: room}
				case "reserve":
					return &crashdisk.Fault{Err: syscall.ENOSPC}
				}
				return nil
			})
			r := w.event(data)
			for range 3 {
				if err := w.append(r); !errors.Is(err, ErrFull) {
					t.Fatalf("on a full disk an event was answered with %v", err)
				}
			}
			if _, err := linesOf(w.log); err != nil {
				t.Fatalf("on a full disk the log cannot be read: %v", err)
			}
			disk.Inject(nil)
			if err := w.append(w.event("")); err != nil { // shorter than what was written in part
				t.Fatalf("with room again an event was answered with %v", err)
			}
			if err := w.nothingTorn(); err != nil {
				t.Fatal(err)
			}
			if err := w.append(r); err != nil {
				t.Fatalf("with room again an event was answered with %v", err)
			}
		}
	}
	// What could not be sealed for want of room is, at the next roll.
	if err := errors.Join(inOrder(w, quoted(1000), quoted(1000)), w.sealed()); err != nil {
		t.Fatal(err)
	}
	mustClose(t, w.log)
	c := newCrasher(newRandom(t))
	if !*exhaustive {
		c.points[0] = 60
	}
	if err := c.crash(disk.Trace(), &promise{}, 0, nil); err != nil {
		t.Fatal(err)
	}
}

// From some operation on nothing works any more: what was promised before is
// still there when the disk works again.
func TestDiskThatDies(t *testing.T) {
	c := newCrasher(newRandom(t))
	if !*exhaustive {
		c.points[0], c.ways[0] = 4, 3
	}
	for after := range int64(60) {
		disk := crashdisk.New()
		var n atomic.Int64
		disk.Inject(func(op crashdisk.Op) *crashdisk.Fault {
			if n.Add(1) <= after {
				return nil
			}
			return &crashdisk.Fault{Err: syscall.EIO, Visible: after%2 == 0}
		})
		w, err := openWorld(disk, disk, Options{SegmentBytes: 1 << 10})
		for i := 0; err == nil && i < 20; i++ {
			err = w.append(w.event(quoted(100 * i)))
		}
		if err == nil || !errors.Is(err, syscall.EIO) {
			t.Fatalf("on a disk that died after %d operations: %v", after, err)
		}
		if w.log != nil {
			w.log.Close()
		}
		disk.Inject(nil)
		if err := errors.Join(disk.Broken(), c.crash(disk.Trace(), &promise{}, 0, nil)); err != nil {
			t.Fatalf("on a disk that died after %d operations: %v", after, err)
		}
	}
}

// runFailing lives through a log's life, starting it again where it cannot go
// on, and then crashes at some points of that.
func runFailing(inject func(crashdisk.Op) *crashdisk.Fault, c *crasher) error {
	disk := crashdisk.New()
	disk.Inject(inject)
	w := &world{disk: disk, folder: c.mutate(disk), options: Options{SegmentBytes: 1 << 10, room: smallRoom, Logger: quiet}}
	p := &promise{}
	err := func() error {
		if err := w.start(); err != nil {
			return err
		}
		for i, n := range []int{0, 30, 900, 500, 600, 10, 20} {
			if i == 4 {
				if err := w.restart(); err != nil {
					return err
				}
			}
			if err := w.publish(w.event(quoted(n))); err != nil {
				return err
			}
		}
		disk.Inject(nil)
		for _, e := range disk.Trace() {
			if err := p.apply(e.Note); err != nil {
				return err
			}
		}
		if _, err := p.kept(w.log); err != nil {
			return err
		}
		if err := w.restart(); err != nil {
			return err
		}
		return p.holds(w)
	}()
	if w.log != nil {
		w.log.Close()
	}
	trace := disk.Trace()
	if err = errors.Join(err, disk.Broken()); err != nil {
		return fail(nil, trace, err)
	}
	some := *c
	some.points[0], some.ways[0] = 4, 2
	if *exhaustive {
		some.points[0], some.ways[0] = 20, 10
	}
	defer func() { c.states = some.states }()
	if err := some.crash(trace, &promise{}, 0, nil); err != nil {
		return err
	}
	return some.crash(trace[len(trace)-1:], p, 0, []string{listed(trace)})
}

// start opens the log, once more if something failed.
func (w *world) start() error {
	err := w.open()
	if err == nil {
		return nil
	}
	if err := onlyInjected(err); err != nil {
		return err
	}
	return w.open()
}

// restart stops the process and starts another.
func (w *world) restart() error {
	if err := w.log.Close(); err != nil {
		return err
	}
	return w.start()
}

// publish publishes an event as a patient publisher does: a second time where
// the disk was full, and after a restart where the log takes no more.
func (w *world) publish(r testEvent) error {
	err := w.append(r)
	if errors.Is(err, ErrFull) {
		err = w.append(r)
	}
	if errors.Is(err, ErrReadOnly) {
		if w.log.Failure() == nil {
			return errors.New("the log takes no events and does not say why")
		}
		if err := w.append(w.event("")); !errors.Is(err, ErrReadOnly) {
			return fmt.Errorf("after a write that failed the log answers %w", err)
		}
		if _, err := linesOf(w.log); err != nil {
			return fmt.Errorf("a log that takes no events cannot be read: %w", err)
		}
		if err := w.restart(); err != nil {
			return err
		}
		err = w.append(r)
	}
	return err
}

// onlyInjected returns nil if err is that of a fault.
func onlyInjected(err error) error {
	if errors.Is(err, syscall.EIO) || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EMFILE) {
		return nil
	}
	return err
}
