package projection

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"

	"miniblog/internal/bus"
	"miniblog/internal/disk"
)

// A database is built beside the one that is read, and takes its place when it has
// caught up with the log:
//
//	            another log           caught up
//	  reading ──────────────▶ both ─────────────▶ reading
//	     │                      ▲
//	     │ its file is damaged  │ (nothing to read)
//	     └──────────────────────┘
//
// So readers see the old data until the new is whole, and never a part of it. What
// is built needs no journal, for its file is thrown away unless it is finished: it
// is written once, where it belongs, and synced at the end.

// nextFile is the file of a database that is being built.
const nextFile = "projection-next.db"

func (p *Projection) nextPath() string { return filepath.Join(p.config.Dir, nextFile) }

// manyEvents is from how many events on an empty database is built beside, which
// is faster than filling it.
const manyEvents = 50_000

// rebuild begins to build the database again. What there is stays to be read, if it
// can be. The caller holds write.
func (p *Projection) rebuild(reason error, readable bool) error {
	rebuildsMetric.Inc()
	slog.Warn("the database is built again from the log", "dir", p.config.Dir, "reason", reason)
	p.outdated = true
	p.applied.Store(0) // of this log nothing can be read yet
	if end := p.fetching.Load(); end != nil {
		defer (*end)() // what it brings does not fit any more
	}
	if !readable && p.store != nil {
		p.use.Lock()
		p.damage.Store(false) // no read runs, so none can find it again
		p.store.close()       // whatever it says, the file goes
		p.store = nil
		p.use.Unlock()
	}
	return p.begin()
}

// begin makes an empty database beside the one that is read. The caller holds write.
func (p *Projection) begin() (err error) {
	p.rolledBack()
	if p.next != nil {
		p.next.close()
		p.next = nil
	}
	if err = removeStore(p.config.Dir, nextFile); err == nil {
		p.next, err = tryStore(p.config.Dir, nextFile, p.config.Schema, building)
	}
	return err
}

// finish puts what was built in the place of what is read. The caller holds write.
// After an error there may be neither, and rebuild has to be called.
func (p *Projection) finish() error {
	next := p.next
	p.next, p.outdated = nil, true // until all went well
	err := next.writer.Exec("UPDATE checkpoint SET log = ?, sequence = ?, id = ?", next.log, next.applied.Sequence, next.applied.ID)
	if err = errors.Join(err, next.close()); err != nil {
		return err
	}
	if err := syncFile(p.nextPath()); err != nil {
		return err
	}
	p.use.Lock()
	defer p.use.Unlock()
	if p.store != nil {
		p.store.close() // whatever it says, the file goes
		p.store = nil
	}
	// The old write-ahead log goes first: it must never be applied to the new data.
	for _, suffix := range []string{"-wal", "-shm"} {
		if err := remove(filepath.Join(p.config.Dir, databaseFile+suffix)); err != nil {
			return err
		}
	}
	if err := os.Rename(p.nextPath(), filepath.Join(p.config.Dir, databaseFile)); err != nil {
		return err
	}
	if err := disk.Dir(p.config.Dir).SyncDir(); err != nil {
		return err
	}
	store, err := tryStore(p.config.Dir, databaseFile, p.config.Schema, serving)
	if err != nil {
		return err
	}
	p.store, p.outdated = store, false
	p.damage.Store(false)
	p.rolledBack()
	p.applied.Store(uint64(store.applied.Sequence))
	if p.config.Dropped != nil {
		p.config.Dropped(named(store.log), store.applied.Sequence)
	}
	p.moveTo(store)
	slog.Info("the database was built and has taken its place", "dir", p.config.Dir, "sequence", store.applied.Sequence.String())
	return nil
}

// finishAt finishes what is built, if anything is, once it has reached a position.
func (p *Projection) finishAt(target bus.Checkpoint) error {
	p.write.Lock()
	defer p.write.Unlock()
	if p.next == nil || p.next.applied.Sequence < target.Sequence {
		return nil
	}
	return p.finish()
}

func syncFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
