// Package cluster is a log in several copies: one for each process of the bus,
// all fed from one stream of a NATS JetStream cluster.
//
// The stream gives one order to opaque messages, and keeps each on a majority of
// its servers' disks. A message is a group of publish requests. Every copy applies
// the messages in order to an eventlog of its own: it numbers the events and
// stores an id once, so equal streams give equal logs, and reading is the same
// as on one machine.
//
//	POST ──▶ Append ──▶ group ──▶ stream (three servers, a majority has it on disk)
//	                      ▲           │ in order, to every copy
//	           positions  └── apply ◀─┘ ──▶ eventlog ──▶ fetch, follow, push
//
// Its law: Append returns after its events are in the stream and in this copy. A
// copy never speaks for a log that it does not know to its end, and stops when
// what it is given is not what comes next, or what it has is not what most others have.
package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"miniblog/event-bus/eventlog"
)

// Config is what a Log needs.
type Config struct {
	Servers         string        // URLs, comma-separated
	CredentialsFile string        // a user's credentials, or the seed of an nkey; may be empty
	Dir             string        // of this copy, which must exist
	NewLog          string        // the id of the log that is begun where there is no stream; empty: a new one
	CompareEvery    time.Duration // how soon what was applied here is compared with the other copies; 0: a minute
	Logger          *slog.Logger
}

// Log is this process's copy. What reads is the eventlog's.
type Log struct {
	*eventlog.Log                // what is read
	copy          *eventlog.Copy // what is applied to
	name          string         // of this copy, for the others
	config        Config
	conn          *nats.Conn
	js            jetstream.JetStream
	nonces        nonces
	stop          context.CancelFunc
	done          sync.WaitGroup
	full          chan struct{} // tells the sender that a message is full; holds one
	seen          atomic.Uint64 // the newest message that was applied

	mu      sync.Mutex
	waiting []*request
	size    int               // of those that wait, in bytes
	pace    eventlog.Pace     // of messages
	pending map[string]*group // sent and not yet answered, by nonce
	current applied           // owned by the apply loop; under mu for the saver
	failed  error             // why this copy has stopped
	ready   bool              // this copy has known the log to its end
	comparison
}

// openWithin is how long a start waits for the cluster.
const openWithin = time.Minute

// Open joins the cluster, and makes its stream if it is the first. It blocks
// until the servers have answered. A copy that is new reads the stream from the
// start, in the background: see End.
func Open(ctx context.Context, config Config) (*Log, error) {
	if config.Logger == nil {
		config.Logger = slog.Default()
	}
	if config.CompareEvery == 0 {
		config.CompareEvery = defaultCompareEvery
	}
	conn, err := connect(config)
	if err != nil {
		return nil, fmt.Errorf("connecting to %s: %w", config.Servers, err)
	}
	l := &Log{config: config, conn: conn, nonces: newNonces(), pace: eventlog.NewPace(), full: make(chan struct{}, 1), pending: map[string]*group{}, comparison: comparison{witnesses: map[string]witness{}}}
	if l.js, err = jetstream.New(conn, jetstream.WithDefaultTimeout(attemptWithin)); err == nil {
		err = l.open(ctx)
	}
	if err != nil {
		if last := conn.LastError(); last != nil && !errors.Is(err, last) {
			err = fmt.Errorf("%w; the connection: %w", err, last)
		}
		conn.Close()
		return nil, err
	}
	ctx, l.stop = context.WithCancel(context.Background())
	l.done.Go(func() { l.send(ctx) })
	l.done.Go(func() { l.follow(ctx) })
	l.done.Go(func() { l.save(ctx) })
	l.done.Go(func() { l.state(ctx) })
	l.done.Go(func() { l.watchServers(ctx) })
	l.done.Go(func() { l.catchUp(ctx) })
	return l, nil
}

// catchUp notes when this copy has all that was stored before it started.
func (l *Log) catchUp(ctx context.Context) {
	began, wait := time.Now(), 10*answerWithin
	for ctx.Err() == nil && l.Failure() == nil {
		if _, err := l.end(ctx, wait); err == nil {
			l.config.Logger.Info("this copy knows the log to its end", "last", l.Last(), "took", time.Since(began).Round(time.Millisecond))
			l.mu.Lock()
			l.ready = true
			l.mu.Unlock()
			return
		}
		pause(ctx, 200*time.Millisecond)
	}
}

// Ready returns nil once this copy has known the log to its end, and else what
// it waits for.
func (l *Log) Ready() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.failed != nil:
		return l.failed
	case !l.ready:
		return fmt.Errorf("this copy of the log is at event %d and does not know its end yet", l.Last())
	}
	return nil
}

// open finds the stream and opens the copy of its log.
func (l *Log) open(ctx context.Context) error {
	state, err := loadState(l.config.Dir)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, openWithin)
	defer cancel()
	var id string
	err = retry(ctx, func() error {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second) // of one attempt: an answer may be lost
		defer cancel()
		if err := l.checkServers(ctx); err != nil {
			return err
		}
		id, err = l.findStream(ctx, state.Log == "")
		return err
	})
	if err != nil {
		return err
	}
	if state.Log != "" && state.Log != id {
		return fmt.Errorf("%s holds a copy of the log %s, and the stream %s is the log %s; to join it, give this copy an empty folder", l.config.Dir, state.Log, streamName, id)
	}
	l.copy, err = eventlog.OpenCopy(l.config.Dir, id, state.Mark, eventlog.Options{Logger: l.config.Logger})
	if err != nil {
		return fmt.Errorf("opening this copy (one whose folder is emptied reads the stream again): %w", err)
	}
	l.Log = l.copy.Log
	l.name = state.Copy
	l.current = state.applied
	l.seen.Store(state.Message)
	if err := l.saveState(); err != nil { // it says that this is a copy: see IsCopy
		l.Log.Close()
		return err
	}
	return nil
}

// retry calls f until it succeeds or fails for good, or ctx ends.
func retry(ctx context.Context, f func() error) error {
	for {
		err := f()
		var stopped *stopError
		if err == nil || errors.As(err, &stopped) {
			return err
		}
		if !pause(ctx, 200*time.Millisecond) {
			return fmt.Errorf("%w: %w", eventlog.ErrUnavailable, err)
		}
	}
}

// pause waits; it tells whether ctx has not ended meanwhile.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// stopError is an error after which this copy must not go on.
type stopError struct{ err error }

func (e *stopError) Error() string { return e.err.Error() }
func (e *stopError) Unwrap() error { return e.err }

func stopf(format string, args ...any) error { return &stopError{fmt.Errorf(format, args...)} }

// fail stops this copy: it applies nothing more and takes no more events.
func (l *Log) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failed != nil {
		return
	}
	if err != errClosed {
		l.config.Logger.Error("this copy of the log has stopped: it can be read and takes no more events", "error", err)
	}
	l.failed = fmt.Errorf("%w: %w", eventlog.ErrReadOnly, err)
	for _, g := range l.pending {
		g.finish(l.failed)
	}
	for _, r := range l.waiting {
		r.answer(nil, l.failed)
	}
	l.waiting = nil
}

var errClosed = errors.New("it is closed")

// Failure returns why this copy takes no more events, nil as long as it does.
func (l *Log) Failure() error {
	l.mu.Lock()
	failed := l.failed
	l.mu.Unlock()
	if failed != nil {
		return failed
	}
	return l.Log.Failure()
}

// Close leaves the cluster. Append fails from then on.
func (l *Log) Close() error {
	l.stop()
	l.done.Wait()
	l.fail(errClosed)
	err := l.saveState()
	l.conn.Close()
	return errors.Join(err, l.Log.Close())
}
