package crashdisk

import (
	"fmt"
	"io"
	"io/fs"
	"slices"
)

// file is an open file.
type file struct {
	disk   *Disk
	name   string // when it was opened
	inode  int
	failed bool // its sync failed
	closed bool
}

// called returns the name that the file has now, or had when it was opened.
func (f *file) called() string {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if f.disk.now.seen.names[f.name] == f.inode {
		return f.name
	}
	for name, inode := range f.disk.now.seen.names {
		if inode == f.inode {
			return name
		}
	}
	return f.name
}

// do does op on the file's content.
func (f *file) do(op Op, apply func(*content) *content) error {
	return f.disk.do(op, func(s *state) (*state, error) {
		if f.closed {
			return nil, fs.ErrClosed
		}
		return s.with(f.inode, apply(s.files[f.inode])), nil
	})
}

// ReadAt implements disk.File.
func (f *file) ReadAt(b []byte, offset int64) (int, error) {
	op := Op{Kind: "read", Name: f.called(), Offset: offset, Len: len(b)}
	if fault := f.disk.fault(op); fault != nil {
		return 0, op.failed(fault.Err)
	}
	content, err := f.content()
	if err != nil {
		return 0, err
	}
	n := 0
	if offset < int64(len(content.seen)) {
		n = copy(b, content.seen[offset:])
	}
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

// Section implements disk.File.
func (f *file) Section(offset, size int64) (io.Reader, error) {
	return io.NewSectionReader(f, offset, size), nil
}

// content returns the file's content, which never changes.
func (f *file) content() (*content, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if f.closed {
		return nil, fs.ErrClosed
	}
	return f.disk.now.files[f.inode], nil
}

// WriteAt implements disk.File.
func (f *file) WriteAt(b []byte, offset int64) (int, error) {
	op := Op{Kind: "write", Name: f.called(), Offset: offset, Len: len(b)}
	data := slices.Clone(b)
	fault := f.disk.fault(op)
	if fault != nil {
		data = data[:min(fault.Done, len(data))]
		op.Len = len(data)
	}
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if f.closed {
		return 0, op.failed(fs.ErrClosed)
	}
	f.mustNotHaveFailed("written to")
	s := f.disk.now
	if len(data) > 0 {
		s = s.with(f.inode, s.files[f.inode].changed(change{offset: offset, data: data, when: f.disk.tick()}))
	}
	if fault != nil {
		f.disk.advance("failed "+op.String(), s)
		return len(data), op.failed(fault.Err)
	}
	f.disk.advance(op.String(), s)
	return len(data), nil
}

// Truncate implements disk.File.
func (f *file) Truncate(size int64) error {
	return f.do(Op{Kind: "truncate", Name: f.called(), Offset: size}, func(c *content) *content {
		return c.changed(change{truncate: true, offset: size, when: f.disk.tick()})
	})
}

// Reserve implements disk.File.
func (f *file) Reserve(size int64) error {
	return f.do(Op{Kind: "reserve", Name: f.called(), Offset: size}, func(c *content) *content {
		return c.changed(change{reserve: true, offset: size, when: f.disk.tick()})
	})
}

// mustNotHaveFailed notes that the rule of failed syncs is broken, if it is.
func (f *file) mustNotHaveFailed(done string) {
	if f.failed && f.disk.broken == nil {
		f.disk.broken = fmt.Errorf("%s was %s after its sync had failed", f.name, done)
	}
}

// Sync implements disk.File.
func (f *file) Sync() error {
	op := Op{Kind: "sync", Name: f.called()}
	fault := f.disk.fault(op)
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if f.closed {
		return op.failed(fs.ErrClosed)
	}
	f.mustNotHaveFailed("synced")
	s := f.disk.now
	if fault != nil {
		f.failed = true
		f.disk.advance("failed "+op.String(), s.with(f.inode, s.files[f.inode].dropped(*fault)))
		return op.failed(fault.Err)
	}
	f.disk.advance(op.String(), s.with(f.inode, s.files[f.inode].synced()))
	return nil
}

// Forget implements disk.File.
func (f *file) Forget() error {
	return f.do(Op{Kind: "forget", Name: f.called()}, (*content).forgotten)
}

// Size implements disk.File.
func (f *file) Size() (int64, error) {
	op := Op{Kind: "size", Name: f.called()}
	if fault := f.disk.fault(op); fault != nil {
		return 0, op.failed(fault.Err)
	}
	content, err := f.content()
	if err != nil {
		return 0, err
	}
	return int64(len(content.seen)), nil
}

// Close implements disk.File.
func (f *file) Close() error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if f.closed {
		return fs.ErrClosed
	}
	f.closed = true
	return nil
}
