// Package projection keeps a service's own view of the log: a SQLite database
// and the checkpoint up to which events were applied to it.
//
// Its law: the database is fed from the log, data and checkpoint in one
// transaction, so it may be lost at any time and is then built again. Applying
// has no side effects, and applying twice changes nothing. The one exception is
// an event without a sequence, sent by hand or by a bus that keeps no log:
// ApplyNow applies it at once, on this copy alone, and a rebuild loses it.
package projection

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"miniblog/internal/bus"
	"miniblog/internal/disk"
	"miniblog/internal/event"
	"miniblog/internal/fault"
)

// Config is what a projection is made of.
type Config struct {
	Dir string // its own folder, which exists
	Bus *bus.Client
	Snapshots

	// Schema makes the tables. Where its text differs from the one that made
	// the file, the file is dropped and built again.
	Schema string
	// Types are the types of event that Apply needs; none means all. It may be
	// given others as well.
	Types []string
	// Apply changes the tables for events, in order. It must not fail for what
	// an event contains: it skips such an event and says so. Any error takes
	// the transaction back, and the events come again. It must not keep their
	// Data, the memory of which is used again. Apply, RolledBack and Committed
	// are called one at a time.
	Apply func(tx *Tx, events []event.Event) error
	// RolledBack, if not nil, is called after what Apply wrote was taken back,
	// because its transaction failed or all data was dropped: what the service
	// keeps in memory beside its tables is then wrong.
	RolledBack func()
	// Committed, if not nil, is called after each commit: one transaction may
	// have several calls of Apply. log is the one that the data is from, "" if
	// there is none. It must not wait.
	Committed func(log string)
	// Dropped, if not nil, is called after all data was replaced, because the log
	// is another one or the file was damaged: it is of log now, up to sequence.
	Dropped func(log string, sequence event.Sequence)
}

// Projection is a database that follows the log. All its methods may be called
// concurrently.
//
//   - write is held for every change; store is replaced only under write and use.
//   - store is what is read. It is nil only where its file was of no use, until
//     next has taken its place.
//   - next is a database that is built beside store (build.go), else nil.
//   - outdated is true while store must be replaced, as its log is not the bus's.
//   - every event up to applied is committed in store, or is of no type in Types;
//     applied is 0 while store is outdated. The checkpoint in the file may be behind
//     it: that is written with the next change, each saveEvery, and at the end.
type Projection struct {
	config Config
	unlock func() error

	write    sync.Mutex
	use      sync.RWMutex // held by reads; taken for itself to replace the store
	store    *store
	next     *store
	outdated bool

	applied   atomic.Uint64 // the checkpoint
	ready     atomic.Bool   // set once, never taken back
	following atomic.Bool   // the last fetch worked
	heard     atomic.Int64  // when the bus said last how far it is, in Unix nanoseconds; unasked where it never does
	waiting   waiters
	giving    chan struct{}                      // holds one: a snapshot is given
	damage    atomic.Bool                        // a read found it; Run has to renew the database
	fetching  atomic.Pointer[context.CancelFunc] // ends Run's fetch
}

var (
	checkpointMetric = promauto.NewGauge(prometheus.GaugeOpts{Name: "projection_checkpoint_sequence",
		Help: "Sequence of the last event that was applied."})
	logEndMetric = promauto.NewGauge(prometheus.GaugeOpts{Name: "projection_log_last_sequence",
		Help: "Last sequence of the log when it was fetched last; the difference to the checkpoint is the lag."})
	followingMetric = promauto.NewGauge(prometheus.GaugeOpts{Name: "projection_following",
		Help: "1 if the last fetch from the event bus worked, else 0: then the log may have more than is known here."})
	rebuildsMetric = promauto.NewCounter(prometheus.CounterOpts{Name: "projection_rebuilds_total",
		Help: "How often the database was dropped or could not be used, and was built again from the log."})
)

// Open opens the projection in config.Dir, or makes an empty one. The folder
// belongs to this process until Close.
func Open(config Config) (*Projection, error) {
	unlock, err := disk.Lock(config.Dir)
	if errors.Is(err, disk.ErrLocked) {
		return nil, fmt.Errorf("DATA_DIR=%q is in use by another process (%w): stop that one, or give this one a folder of its own", config.Dir, err)
	}
	if err != nil {
		return nil, unusable(config.Dir, err)
	}
	store, replaced, err := openStore(config.Dir, config.Schema)
	if err == nil {
		err = removeStore(config.Dir, nextFile) // of a build that did not end
	}
	if err != nil {
		unlock()
		return nil, unusable(config.Dir, err)
	}
	if replaced != nil {
		rebuildsMetric.Inc()
		slog.Warn("the database could not be used and is built again from the log", "dir", config.Dir, "reason", replaced)
	}
	p := &Projection{config: config, unlock: unlock, store: store, giving: make(chan struct{}, 1)}
	p.moveTo(store)
	return p, nil
}

// Close closes the database. Run must have returned.
func (p *Projection) Close() error {
	p.write.Lock()
	defer p.write.Unlock()
	p.use.Lock()
	defer p.use.Unlock()
	var errs []error
	for _, s := range []*store{p.store, p.next} {
		if s != nil {
			errs = append(errs, s.close())
		}
	}
	return errors.Join(append(errs, p.unlock())...)
}

// Skip says that an event cannot be applied, because of what it contains.
func Skip(e *event.Event, reason error) {
	slog.Warn("an event is skipped", "event", e.ID, "type", e.Type, "sequence", e.Sequence.String(), "reason", reason)
}

// Read runs f in a transaction that sees one state of the data; the checkpoint
// in it belongs to that state. A few reads run at once, others wait for them
// or for ctx.
func (p *Projection) Read(ctx context.Context, f func(*Tx) error) error {
	p.use.RLock()
	defer p.use.RUnlock()
	if p.store == nil {
		return errNoStore
	}
	err := p.store.read(ctx, f)
	if damaged(err) {
		p.damage.Store(true)
		if end := p.fetching.Load(); end != nil {
			(*end)()
		}
	}
	return err
}

// errNoStore is the answer while there is nothing to read, rather than an empty blog.
var errNoStore = &fault.Fault{Kind: fault.Unavailable, Detail: "The data is being built again from the log. Try again in a moment."}

// Log returns the id of the log that the data is from, "" if that has none or is
// not known yet. It waits for a change that is under way.
func (p *Projection) Log() string {
	log, _ := p.position()
	return named(log)
}

// Checkpoint returns the sequence of the last event that was applied.
func (p *Projection) Checkpoint() event.Sequence { return event.Sequence(p.applied.Load()) }

// Ready returns nil from the moment when the projection has caught up with the
// log as it stood at the start, and before that what it waits for.
func (p *Projection) Ready() error {
	if p.ready.Load() {
		return nil
	}
	return fmt.Errorf("catching up with the log: event %d was applied", p.Checkpoint())
}

// writes returns the database that events are applied to, nil if there is none.
// The caller holds write.
func (p *Projection) writes() *store {
	if p.next != nil || p.outdated {
		return p.next
	}
	return p.store
}

// commit commits what apply does. Unless log is empty, the checkpoint moves in
// the same transaction to the one of log that apply returns. A file that is damaged
// is built again. The caller holds write.
func (p *Projection) commit(log string, apply func(*Tx) (bus.Checkpoint, error)) error {
	s := p.writes()
	if s == nil {
		return errNoStore
	}
	var to bus.Checkpoint
	err := s.writer.do("BEGIN IMMEDIATE", func() (err error) {
		if to, err = apply(s.writer); err != nil || log == "" {
			return err
		}
		err = s.writer.Exec("UPDATE checkpoint SET log = ?, sequence = ?, id = ?", log, to.Sequence, to.ID)
		return err
	})
	switch {
	case err != nil && s == p.next: // which cannot take a transaction back
		return errors.Join(err, p.begin())
	case damaged(err):
		return errors.Join(err, p.rebuild(err, false))
	case err != nil:
		p.rolledBack()
		return err
	}
	if log != "" {
		s.log, s.applied, s.saved = log, to, to.Sequence
	}
	if s == p.store && p.config.Committed != nil {
		p.config.Committed(named(s.log))
	}
	p.moveTo(s)
	return nil
}

// pass moves the checkpoint over events that change nothing; it is saved with
// the next change, or by save. The caller holds write, and there is a database.
func (p *Projection) pass(log string, to bus.Checkpoint) {
	s := p.writes()
	s.log, s.applied = log, to
	p.moveTo(s)
}

// save writes down how far the projection is.
func (p *Projection) save() error {
	p.write.Lock()
	defer p.write.Unlock()
	s := p.writes()
	if s == nil || s == p.next || s.saved == s.applied.Sequence {
		return nil
	}
	return p.commit(s.log, func(*Tx) (bus.Checkpoint, error) { return s.applied, nil })
}

func (p *Projection) setFollowing(is bool) {
	p.following.Store(is)
	if !is {
		p.heard.Store(0)
	}
	if is {
		followingMetric.Set(1)
	} else {
		followingMetric.Set(0)
	}
}

func (p *Projection) rolledBack() {
	if p.config.RolledBack != nil {
		p.config.RolledBack()
	}
}

// noOrigin is the origin of data that is not there.
const noOrigin = "missing"

// position returns the log that the data is from, and how far it is: that of what
// is built, if something is.
func (p *Projection) position() (log string, at bus.Checkpoint) {
	p.write.Lock()
	defer p.write.Unlock()
	s := p.writes()
	if s == nil {
		return noOrigin, at
	}
	return s.log, s.applied
}

// concerned tells whether some of events may change the data.
func (p *Projection) concerned(events []event.Event) bool {
	for i := range events {
		if len(p.config.Types) == 0 || slices.Contains(p.config.Types, events[i].Type) {
			return true
		}
	}
	return false
}

// moveTo says how far s is: if it is what is read, to those who wait, too.
func (p *Projection) moveTo(s *store) {
	checkpointMetric.Set(float64(s.applied.Sequence))
	if s == p.store {
		p.applied.Store(uint64(s.applied.Sequence))
		p.waiting.wake(s.applied.Sequence)
	}
}
