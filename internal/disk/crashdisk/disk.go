// Package crashdisk is a disk for tests: a disk.Folder in memory that loses at a
// crash what was not synced, and fails when it is told to.
//
// Its law: after a crash everything that was synced is there; of everything
// else any part may be there, may be torn, and may be garbage. It keeps a trace
// of all that was done, and can crash at each point of it in every way.
package crashdisk

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"

	"miniblog/internal/disk"
)

var _ disk.Folder = (*Disk)(nil)

// Disk is a folder on a disk that may fail. Its methods may be called from any
// goroutine; what they do is one after the other in the trace.
type Disk struct {
	mu     sync.Mutex
	now    *state // replaced, never changed
	inodes int    // how many there were so far
	clock  int    // counts changes, to order them
	trace  []Entry
	inject func(Op) *Fault
	broken error // how the rule of failed syncs was broken first
}

// Op is one thing that was done with the disk.
type Op struct {
	Kind   string // create, open, list, rename, remove, syncdir; read, write, truncate, reserve, sync, forget, size
	Name   string // of the file, as it was when that was opened
	To     string // of a rename
	Offset int64  // of a read and a write; the size of a truncate and a reserve
	Len    int    // of a read and a write
}

// String implements fmt.Stringer.
func (op Op) String() string {
	switch op.Kind {
	case "rename":
		return fmt.Sprintf("rename %s to %s", op.Name, op.To)
	case "write", "read":
		return fmt.Sprintf("%s %s [%d,%d)", op.Kind, op.Name, op.Offset, op.Offset+int64(op.Len))
	case "truncate", "reserve":
		return fmt.Sprintf("%s %s to %d", op.Kind, op.Name, op.Offset)
	}
	return op.Kind + " " + op.Name
}

// failed returns err as package os does.
func (op Op) failed(err error) error { return &fs.PathError{Op: op.Kind, Path: op.Name, Err: err} }

// Fault is how an operation fails.
type Fault struct {
	Err error
	// Done is how much of it was done all the same: bytes of a write; of a sync,
	// how many of the changes that were waiting, oldest first; of anything else
	// 0 or 1. What a failed sync did not do is dropped: no later sync does it.
	Done int
	// Visible tells that processes still see what a failed sync dropped.
	Visible bool
}

// New returns an empty disk.
func New() *Disk { return &Disk{now: &state{}} }

// Inject has f decide about each operation before it is done; nil lets it be
// done. f may block.
func (d *Disk) Inject(f func(Op) *Fault) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.inject = f
}

// Broken returns an error if a descriptor was written to or synced after its
// sync had failed.
func (d *Disk) Broken() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.broken
}

// Files returns the contents of all files as processes see them. Nobody may
// write to them.
func (d *Disk) Files() map[string][]byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	files := map[string][]byte{}
	for name, inode := range d.now.seen.names {
		files[name] = d.now.files[inode].seen
	}
	return files
}

// fault asks whether op is to fail.
func (d *Disk) fault(op Op) *Fault {
	d.mu.Lock()
	inject := d.inject
	d.mu.Unlock()
	if inject == nil {
		return nil
	}
	return inject(op)
}

// do does op unless it is to fail, and notes it in the trace.
func (d *Disk) do(op Op, apply func(*state) (*state, error)) error {
	fault := d.fault(op)
	if fault != nil && fault.Done == 0 {
		return op.failed(fault.Err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	next, err := apply(d.now)
	if err == nil {
		d.advance(op.String(), next)
		if fault != nil {
			err = fault.Err
		}
	}
	if err != nil {
		return op.failed(err)
	}
	return nil
}

// advance makes next the state of the disk.
func (d *Disk) advance(what string, next *state) {
	d.now = next
	d.trace = append(d.trace, Entry{What: what, state: next})
}

// tick returns the number of the next change.
func (d *Disk) tick() int {
	d.clock++
	return d.clock
}

// Create implements disk.Folder.
func (d *Disk) Create(name string) (disk.File, error) {
	f := &file{disk: d, name: name}
	err := d.do(Op{Kind: "create", Name: name}, func(s *state) (*state, error) {
		if inode, ok := s.seen.names[name]; ok {
			f.inode = inode
			return s.with(inode, s.files[inode].changed(change{truncate: true, when: d.tick()})), nil
		}
		d.inodes++
		f.inode = d.inodes
		return s.with(f.inode, &content{}).moved(move{to: name, inode: f.inode}), nil
	})
	if err != nil {
		return nil, err
	}
	return f, nil
}

// Open implements disk.Folder.
func (d *Disk) Open(name string) (disk.File, error) {
	f, op := &file{disk: d, name: name}, Op{Kind: "open", Name: name}
	if fault := d.fault(op); fault != nil {
		return nil, op.failed(fault.Err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	inode, ok := d.now.seen.names[name]
	if !ok {
		return nil, op.failed(fs.ErrNotExist)
	}
	f.inode = inode
	return f, nil
}

// List implements disk.Folder; the names are sorted.
func (d *Disk) List() ([]string, error) {
	op := Op{Kind: "list"}
	if fault := d.fault(op); fault != nil {
		return nil, op.failed(fault.Err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	var names []string
	for name := range d.now.seen.names {
		names = append(names, name)
	}
	slices.Sort(names)
	return names, nil
}

// Rename implements disk.Folder.
func (d *Disk) Rename(from, to string) error {
	return d.do(Op{Kind: "rename", Name: from, To: to}, func(s *state) (*state, error) {
		inode, ok := s.seen.names[from]
		if !ok {
			return nil, fs.ErrNotExist
		}
		return s.moved(move{from: from, to: to, inode: inode}), nil
	})
}

// Remove implements disk.Folder.
func (d *Disk) Remove(name string) error {
	return d.do(Op{Kind: "remove", Name: name}, func(s *state) (*state, error) {
		if _, ok := s.seen.names[name]; !ok {
			return nil, fs.ErrNotExist
		}
		return s.moved(move{from: name}), nil
	})
}

// SyncDir implements disk.Folder.
func (d *Disk) SyncDir() error {
	op := Op{Kind: "syncdir"}
	f := d.fault(op)
	d.mu.Lock()
	defer d.mu.Unlock()
	if f != nil {
		d.advance("failed syncdir", d.now.dirDropped(*f))
		return op.failed(f.Err)
	}
	d.advance(op.String(), d.now.dirSynced())
	return nil
}

// Damage changes a file as rot does, durably and without a trace.
func (d *Disk) Damage(name string, change func([]byte) []byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	inode, ok := d.now.seen.names[name]
	if !ok {
		return errors.New("crashdisk: there is no file " + name)
	}
	b := change(slices.Clone(d.now.files[inode].seen))
	d.now = d.now.with(inode, &content{seen: b, disk: b})
	return nil
}
