package eventlog

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"miniblog/internal/disk"
	"miniblog/internal/disk/crashdisk"
	"miniblog/internal/event"
)

// world is a log on a disk that crashes, and those who use it. Whatever they
// are told goes into the disk's trace.
type world struct {
	disk    *crashdisk.Disk
	folder  disk.Folder // the disk, or a mutant of it
	options Options
	log     *Log

	mu    sync.Mutex
	count int // events so far, for their ids
}

// smallRoom has room for a few small events, so that they use it up.
const smallRoom = 700

// openWorld opens a log on the disk.
func openWorld(disk *crashdisk.Disk, folder disk.Folder, options Options) (*world, error) {
	options.Logger = quiet
	if options.room == 0 {
		options.room = smallRoom
	}
	w := &world{disk: disk, folder: folder, options: options}
	return w, w.open()
}

// newWorld opens a log on a new disk; it is closed when the test ends.
func newWorld(t *testing.T, options Options) *world {
	t.Helper()
	d := crashdisk.New()
	w, err := openWorld(d, d, options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { mustClose(t, w.log) })
	return w
}

func (w *world) open() (err error) {
	if w.log, err = open(w.folder, w.options); err == nil {
		w.disk.Note(noteOpened{w.log.ID()})
	}
	return err
}

// event returns the next event; its data is the given JSON.
func (w *world) event(data string) testEvent {
	w.mu.Lock()
	w.count++
	id := fmt.Sprintf("e%d", w.count)
	w.mu.Unlock()
	return eventWithID(id, data)
}

func eventWithID(id, data string) testEvent {
	e := event.Event{SpecVersion: "1.0", ID: id, Type: "T"}
	if data != "" {
		e.Data = []byte(data)
	}
	line, err := event.NewLine(&e)
	if err != nil {
		panic(err)
	}
	return testEvent{ID: id, Line: line}
}

// quoted returns a JSON string of n characters that compress badly.
func quoted(n int) string {
	random := rand.New(rand.NewPCG(uint64(n), 0))
	b := make([]byte, n+2)
	for i := range b {
		b[i] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"[random.Uint32()%64]
	}
	b[0], b[n+1] = '"', '"'
	return string(b)
}

// append publishes records as one and notes what was said.
func (w *world) append(records ...testEvent) error {
	c := &call{records: records}
	w.disk.Note(noteTried{c})
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	positions, err := w.log.Append(ctx, eventLines(records))
	if err != nil {
		return err
	}
	acked := noteAcked{map[event.Sequence][]byte{}}
	for i, p := range positions {
		line := c.records[i].Line.Append(nil, p.Sequence)
		if before, twice := acked.lines[p.Sequence]; twice {
			line = before // the second of two events with one id, and not stored
		}
		acked.lines[p.Sequence] = line
	}
	w.disk.Note(acked)
	return nil
}

// sealed waits until every full segment is sealed.
func (w *world) sealed() error {
	return until("the full segments were not sealed", func() bool {
		w.log.mu.Lock()
		full := w.log.activeFull() // it is rolled after the answer
		w.log.mu.Unlock()
		return !full && len(w.log.unsealed()) == 0 && w.actives() == 1
	})
}

// actives returns the number of active segments on the disk.
func (w *world) actives() (n int) {
	for name := range w.disk.Files() {
		if strings.HasSuffix(name, activeSuffix) {
			n++
		}
	}
	return n
}

// until waits until done, or returns an error that says what was waited for in
// vain.
func until(vain string, done func() bool) error {
	for deadline := time.Now().Add(20 * time.Second); !done(); time.Sleep(20 * time.Microsecond) {
		if time.Now().After(deadline) {
			return errors.New(vain)
		}
	}
	return nil
}

// follow reads the log as it grows, as a fetching reader and as a subscriber
// whose cursor is saved, until all events up to last were seen.
func (w *world) follow(last event.Sequence) error {
	var seen [][]byte
	r := w.log.Reader(0)
	for len(seen) < int(last) {
		b, err := r.Next()
		if err != nil {
			return err
		}
		for line := range b.Lines() {
			seen = append(seen, slices.Clone(line))
		}
		if b.Count > 0 {
			w.disk.Note(noteSeen{slices.Clone(seen)})
			cursor := event.Sequence(len(seen))
			w.disk.Note(noteDelivered{cursor})
			if err := disk.Replace(w.folder, cursorFile, cursor.Append(nil)); err != nil {
				return err
			}
			w.disk.Note(noteSaved{cursor})
			continue
		}
		select {
		case <-w.log.Beyond(event.Sequence(len(seen))):
		case <-time.After(20 * time.Second):
			return errors.New("the follower waited in vain")
		}
	}
	return nil
}

// together publishes n events at once, so that they wait for one another's
// sync and are written as a group.
func (w *world) together(n int) error {
	syncing, held := make(chan struct{}), make(chan struct{})
	var once sync.Once
	w.disk.Inject(func(op crashdisk.Op) *crashdisk.Fault {
		if op.Kind == "sync" {
			once.Do(func() { close(syncing); <-held })
		}
		return nil
	})
	defer w.disk.Inject(nil)
	errs := make(chan error, n)
	publish := func(i int) { errs <- w.append(w.event(quoted(i))) }
	go publish(0)
	select {
	case <-syncing: // the first is on its way alone
	case err := <-errs:
		return errors.Join(err, errors.New("an event was answered without a sync"))
	}
	for i := 1; i < n; i++ {
		go publish(i)
	}
	err := until("the group did not form", func() bool {
		w.log.mu.Lock()
		defer w.log.mu.Unlock()
		return len(w.log.waiting) == n-1
	})
	close(held)
	for range n {
		err = errors.Join(err, <-errs)
	}
	return err
}

// workload is something that is done with a log.
type workload struct {
	name    string
	options Options
	run     func(*world) error
	large   bool // too large for crashes at every point
}

var workloads = []workload{
	{name: "a log without events", options: Options{SegmentBytes: 1 << 20}, run: func(w *world) error { return nil }},
	{name: "small events", options: Options{SegmentBytes: 1 << 20}, run: func(w *world) error {
		return inOrder(w, "", `""`, `"x"`, `1`, quoted(30))
	}},
	{name: "batches that end at a sector, a byte before and a byte after", options: Options{SegmentBytes: 1 << 20}, run: func(w *world) error {
		for _, size := range []int{sectorBytes - 1, sectorBytes, sectorBytes + 1, 8*sectorBytes - 1, 8 * sectorBytes, 8*sectorBytes + 1} {
			if err := w.append(w.filling(size)); err != nil {
				return err
			}
		}
		return nil
	}},
	{name: "batches that end with the room, a few bytes before and after", options: Options{SegmentBytes: 1 << 20, room: 2 * sectorBytes}, run: func(w *world) error {
		for _, left := range []int{roomHeader, 0, 1, roomHeader - 1, roomHeader + 1, -1} {
			for w.room() < sectorBytes {
				if err := w.append(w.event(quoted(30))); err != nil {
					return err
				}
			}
			if err := errors.Join(w.append(w.filling(w.room()-left)), w.nothingTorn()); err != nil {
				return err
			}
		}
		return nil
	}},
	{name: "batches, all or none, and ids that come again", options: Options{SegmentBytes: 1 << 20}, run: func(w *world) error {
		first := w.event(`"first"`)
		if err := w.append(first, w.event(""), w.event(quoted(200))); err != nil {
			return err
		}
		if err := w.append(first); err != nil {
			return err
		}
		twice := w.event(`"twice"`)
		if err := w.append(w.event(""), eventWithID(first.ID, `"first"`), twice, eventWithID(twice.ID, `"twice"`)); err != nil {
			return err
		}
		many := make([]testEvent, 100)
		for i := range many {
			many[i] = w.event(quoted(i))
		}
		return w.append(many...)
	}},
	{name: "groups of publishers", options: Options{SegmentBytes: 1 << 20}, run: func(w *world) error {
		return errors.Join(w.together(manyPublishers+2), w.together(3))
	}},
	{name: "groups that are written as several batches", options: Options{SegmentBytes: 1 << 20, splitBytes: 1 << 8}, run: func(w *world) error {
		return errors.Join(w.together(5), w.together(4))
	}},
	{name: "a group that is prepared while a large one is stored", options: Options{SegmentBytes: 1 << 10, splitBytes: 1 << 8}, run: func(w *world) error {
		for _, size := range []int{10, 900, 10} {
			told, err := w.overlap("sync", nil, []testEvent{w.event(quoted(600))}, []testEvent{w.event(quoted(size)), w.event("")})
			if err = errors.Join(told[0], told[1], err); err != nil {
				return err
			}
		}
		return nil
	}},
	{name: "segments that fill and are sealed, under a follower whose cursor is saved", options: Options{SegmentBytes: 1 << 10}, run: func(w *world) error {
		const n = 16
		followed := make(chan error, 1)
		go func() { followed <- w.follow(n) }()
		for i := range n {
			if err := w.append(w.event(quoted(20 * i))); err != nil {
				return err
			}
		}
		return errors.Join(w.sealed(), <-followed)
	}},
	{name: "a log that is closed and opened again", options: Options{SegmentBytes: 1 << 10}, run: func(w *world) error {
		for i := range 3 {
			if err := inOrder(w, quoted(300), quoted(500), quoted(100*i)); err != nil {
				return err
			}
			if err := w.log.Close(); err != nil {
				return err
			}
			if err := w.open(); err != nil {
				return err
			}
		}
		return nil
	}},
	{name: "the largest events", options: Options{SegmentBytes: 1 << 20}, large: true, run: func(w *world) error {
		return inOrder(w, `"before it"`, quoted(1<<20), `"after it"`)
	}},
}

// inOrder publishes events with the given data, one after the other.
func inOrder(w *world, data ...string) error {
	for _, text := range data {
		if err := w.append(w.event(text)); err != nil {
			return err
		}
	}
	return nil
}

const sectorBytes = 512

// room returns how many bytes of room the active segment has.
func (w *world) room() int {
	w.log.mu.Lock()
	defer w.log.mu.Unlock()
	active := w.log.activeLocked()
	return len(w.disk.Files()[active.name]) - int(active.size)
}

// filling returns an event that makes a batch of size bytes on disk, or of as
// few more as can be.
func (w *world) filling(size int) testEvent {
	e := newEncoder(zstd.SpeedFastest)
	defer e.Close()
	id := w.event("").ID
	for n := max(0, size-250); ; n++ {
		r := eventWithID(id, quoted(n))
		line := append(r.Line.Append(nil, w.log.Last()+1), '\n')
		if headerSize+len(e.EncodeAll(line, nil)) >= size {
			return r
		}
	}
}

// record runs the workload on a new disk and returns its trace.
func (wl workload) record(mutate func(disk.Folder) disk.Folder) ([]crashdisk.Entry, error) {
	disk := crashdisk.New()
	w, err := openWorld(disk, mutate(disk), wl.options)
	if err != nil {
		return nil, err
	}
	err = wl.run(w)
	return disk.Trace(), errors.Join(err, w.log.Close(), disk.Broken())
}

func honest(fsys disk.Folder) disk.Folder { return fsys }
