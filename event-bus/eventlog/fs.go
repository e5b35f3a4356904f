package eventlog

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"
)

// fileSystem is what the log asks of the folder it lives in. Names are those
// of files in that folder. The tests have a second one, which forgets what was
// not synced and fails on demand.
type fileSystem interface {
	// Create makes a new file, or empties one that exists, for reading and writing.
	Create(name string) (file, error)
	// Open opens an existing file for reading and writing.
	Open(name string) (file, error)
	// List returns the names of all files.
	List() ([]string, error)
	Rename(from, to string) error
	Remove(name string) error
	// SyncDir makes what was created, renamed and removed durable.
	SyncDir() error
}

// file is an open file. ReadAt may run beside everything else; one goroutine
// at a time does the rest.
type file interface {
	io.ReaderAt
	io.WriterAt
	Truncate(size int64) error
	// Sync makes the file's bytes and its size durable. After an error nothing
	// is known of what is on disk, and a second Sync would lie.
	Sync() error
	// Forget makes the next read come from the disk and not from the kernel's
	// memory, of what is synced and where the system can.
	Forget() error
	Size() (int64, error)
	Close() error
}

// folder is the real file system.
type folder string

func (d folder) path(name string) string { return filepath.Join(string(d), name) }

func (d folder) Create(name string) (file, error) {
	return openFile(d.path(name), os.O_RDWR|os.O_CREATE|os.O_TRUNC)
}

func (d folder) Open(name string) (file, error) { return openFile(d.path(name), os.O_RDWR) }

func openFile(path string, flag int) (file, error) {
	f, err := os.OpenFile(path, flag, 0o644)
	if err != nil {
		return nil, err
	}
	return &diskFile{f}, nil
}

func (d folder) List() ([]string, error) {
	entries, err := os.ReadDir(string(d))
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if e.Type().IsRegular() {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

func (d folder) Rename(from, to string) error { return os.Rename(d.path(from), d.path(to)) }

func (d folder) Remove(name string) error { return os.Remove(d.path(name)) }

func (d folder) SyncDir() error {
	dir, err := os.Open(string(d))
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}

// diskFile is an os.File that syncs with fdatasync.
type diskFile struct{ *os.File }

func (f *diskFile) Sync() error { return fdatasync(f.File) }

func (f *diskFile) Forget() error { return dropCache(f.File) }

func (f *diskFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// isFull tells whether err says that there is no room: it heals by itself when
// somebody makes some.
func isFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}
