// Package eventlog stores events on disk, in order, each exactly once, and
// hands them out again.
//
// Its law: Append returns after its events are durable, all or none of them,
// and nobody sees an event that a crash could take back. Open returns a log
// that holds every event that was ever acknowledged, or an error.
package eventlog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"miniblog/internal/disk"
	"miniblog/internal/event"
)

// Errors of Append that say what to do; they leave reading as it is.
var (
	// ErrFull: the disk has no room. Append works again when there is some.
	ErrFull = errors.New("the disk is full")
	// ErrReadOnly: a write failed in a way that leaves open what is on disk, or
	// the log is closed. Append works again after a restart.
	ErrReadOnly = errors.New("the log takes no more events until the service is started again")
	// ErrUnavailable: a log in several copies could not find out in time what
	// became of the events. They may be stored or not.
	ErrUnavailable = errors.New("the log's servers do not answer")
)

// Options of a log; zero means the default.
type Options struct {
	// SegmentBytes is how much a segment holds before the next one is begun, in
	// bytes of events; 64 MiB.
	SegmentBytes int64
	Logger       *slog.Logger

	splitBytes int            // how large a group is written as one batch; for tests
	room       int64          // what is reserved beyond a batch; of a Copy, none
	copied     bool           // of a Copy: no sync before the answer
	idsUntil   event.Sequence // of a Copy: what comes later is applied again
}

// Log is a log that is open. Its methods may be called from any goroutine.
type Log struct {
	folder  disk.Folder
	id      string
	options Options
	unlock  func() error
	ids     ids // the writer's
	pace    Pace
	opened  time.Time

	given     event.Sequence // the newest that was given to an event; the writer's
	unsettled *group         // what may not be stored yet; the writer's
	storing   sync.WaitGroup // its goroutine, if it has one

	rolled chan struct{} // tells the sealer that a segment is full; holds one
	stop   context.CancelFunc
	done   sync.WaitGroup // writer and sealer

	busyUntil    atomic.Int64   // since opened, so that nobody can set it back; the sealer gives way until then
	sealedBeside event.Sequence // the newest event when the sealer last gave way; the sealer's

	synced atomic.Uint64 // everything up to here survives a crash; durable itself, but in a Copy

	mu       sync.Mutex
	waiting  []*request
	failed   error // why Append fails, once it does
	segments []*segment
	recent   recent
	durable  event.Sequence // readers stop here; moves only after a sync
	moved    chan struct{}  // closed when durable moves on, and replaced
}

// Open opens the log in the folder dir, which must exist, and makes one if it
// is empty. It cuts off a batch that was being written when the last process
// stopped. Its error is a *Damage when acknowledged events cannot be read, and
// says so when another process has the log open.
func Open(dir string, options Options) (*Log, error) {
	unlock, err := lock(dir)
	if err != nil {
		return nil, disk.OfOwner(err)
	}
	l, err := open(disk.Dir(dir), options)
	if err != nil {
		unlock()
		return nil, disk.OfOwner(err)
	}
	l.unlock = unlock
	return l, nil
}

// lock keeps other processes out of the log in dir.
func lock(dir string) (unlock func() error, err error) {
	unlock, err = disk.Lock(dir)
	if errors.Is(err, disk.ErrLocked) {
		err = fmt.Errorf("%w: another event-bus has this log open; stop it first", err)
	}
	return unlock, err
}

func open(folder disk.Folder, options Options) (*Log, error) {
	if options.SegmentBytes == 0 {
		options.SegmentBytes = 64 << 20
	}
	if options.splitBytes == 0 {
		options.splitBytes = 256 << 10
	}
	if options.room == 0 && !options.copied {
		options.room = 1 << 20
	}
	if options.Logger == nil {
		options.Logger = slog.Default()
	}
	r, err := recoverLog(folder)
	if err != nil {
		return nil, err
	}
	if r.torn > 0 {
		options.Logger.Warn("cut off a batch that was being written when the last process stopped; none of its events was acknowledged", "bytes", r.torn)
	}
	ctx, stop := context.WithCancel(context.Background())
	l := &Log{
		folder: folder, id: r.id, options: options,
		unlock:   func() error { return nil },
		rolled:   make(chan struct{}, 1),
		stop:     stop,
		opened:   time.Now(),
		pace:     NewPace(),
		segments: r.segments,
		durable:  r.segments[len(r.segments)-1].last,
		moved:    make(chan struct{}),
	}
	l.given = l.durable
	l.synced.Store(uint64(l.durable)) // recovery has synced it
	if options.copied {
		err = l.loadIDs(min(options.idsUntil, l.durable))
	} else {
		err = l.loadIDs(l.durable)
	}
	if err != nil {
		r.close()
		stop()
		return nil, err
	}
	l.done.Go(func() { l.write(ctx) })
	l.done.Go(func() { l.seal(ctx) })
	return l, nil
}

// loadIDs reads back the ids that are remembered after the event last.
func (l *Log) loadIDs(last event.Sequence) error {
	after := event.Sequence(0)
	if last > remembered {
		after = last - remembered
	}
	r := l.Reader(after)
	defer r.Close()
	for after < last {
		b, err := r.Next()
		if err != nil || b.Count == 0 {
			return err
		}
		b = b.Until(last)
		after = b.Last()
		l.ids.rotate()
		for text := range b.Lines() {
			line, ok := event.ReadLine(text)
			if !ok {
				return fmt.Errorf("the event after %d is not in the log's own form; restore the log from a backup", b.First-1)
			}
			l.ids.add(event.KeyOf(line.ID()), line.Sequence())
		}
	}
	return nil
}

// ID returns the log's id. A log that was emptied and begun again has another.
func (l *Log) ID() string { return l.id }

// Last returns the sequence of the newest durable event, 0 if there is none.
func (l *Log) Last() event.Sequence {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.durable
}

// End is Last: what is durable here is the whole log.
func (l *Log) End(context.Context) (event.Sequence, error) { return l.Last(), nil }

// Failure returns why Append fails until a restart, nil as long as it does not.
func (l *Log) Failure() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.failed
}

// Beyond returns a channel that is closed once there is an event after the
// given one.
func (l *Log) Beyond(after event.Sequence) <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.durable > after {
		return closed
	}
	return l.moved // durable moves by at least one
}

var closed = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

// Close waits for what is being written, stops the log's goroutines and gives
// the folder back. Append fails from then on.
func (l *Log) Close() error {
	l.stop()
	l.done.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	var errs []error
	for _, s := range l.segments {
		errs = append(errs, s.file.Close())
	}
	return errors.Join(append(errs, l.unlock())...)
}

// activeLocked returns the segment that is written to.
func (l *Log) activeLocked() *segment { return l.segments[len(l.segments)-1] }

// Size returns the log's length on disk, in bytes, and its number of segments.
func (l *Log) Size() (bytes int64, segments int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.segments {
		bytes += s.size
	}
	return bytes, len(l.segments)
}
