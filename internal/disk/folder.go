package disk

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"
)

// Dir is the folder of that path on the machine's file system. It must exist.
type Dir string

// Path returns the path of the file of that name.
func (d Dir) Path(name string) string { return filepath.Join(string(d), name) }

// Create implements Folder.
func (d Dir) Create(name string) (File, error) {
	return openFile(d.Path(name), os.O_RDWR|os.O_CREATE|os.O_TRUNC)
}

// Open implements Folder.
func (d Dir) Open(name string) (File, error) { return openFile(d.Path(name), os.O_RDWR) }

func openFile(path string, flag int) (File, error) {
	f, err := os.OpenFile(path, flag, 0o644)
	if err != nil {
		return nil, err
	}
	return &osFile{f}, nil
}

// List implements Folder.
func (d Dir) List() ([]string, error) {
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

// Rename implements Folder.
func (d Dir) Rename(from, to string) error { return os.Rename(d.Path(from), d.Path(to)) }

// Remove implements Folder.
func (d Dir) Remove(name string) error { return os.Remove(d.Path(name)) }

// SyncDir implements Folder.
func (d Dir) SyncDir() error {
	sync, err := d.openNames()
	if err != nil {
		return err
	}
	return sync()
}

// openNames opens the folder for one sync of its names, which closes it again.
func (d Dir) openNames() (sync func() error, err error) {
	dir, err := os.Open(string(d))
	if err != nil {
		return nil, err
	}
	return func() error { defer dir.Close(); return dir.Sync() }, nil
}

// MakeDir makes the folder at path and the folders above it that are missing,
// durably: a file's name lasts no longer than that of its folder.
func MakeDir(path string) error {
	if info, err := os.Stat(path); err == nil {
		if info.IsDir() {
			return nil
		}
		return &os.PathError{Op: "mkdir", Path: path, Err: syscall.ENOTDIR}
	}
	above := filepath.Dir(filepath.Clean(path))
	if above != path {
		if err := MakeDir(above); err != nil {
			return err
		}
	}
	if err := os.Mkdir(path, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return Dir(above).SyncDir()
}

// osFile is an os.File that syncs with fdatasync.
type osFile struct{ *os.File }

// Section implements File. sendfile knows an os.File within a LimitedReader, and
// reads from where the file's offset is.
func (f *osFile) Section(offset, size int64) (io.Reader, error) {
	if _, err := f.Seek(offset, io.SeekStart); err != nil {
		return nil, err
	}
	return io.LimitReader(f.File, size), nil
}

// Reserve implements File. It writes zeroes: room that was only allocated is
// marked as unwritten, and each sync of what is written there changes the mark.
func (f *osFile) Reserve(size int64) error {
	before, err := f.Size()
	for at := before; err == nil && at < size; at += int64(len(zeroes)) {
		_, err = f.WriteAt(zeroes[:min(int64(len(zeroes)), size-at)], at)
	}
	if err != nil {
		return errors.Join(err, f.Truncate(before))
	}
	return nil
}

// zeroes is nothing but zeroes.
var zeroes [64 << 10]byte

// Sync implements File.
func (f *osFile) Sync() error { return fdatasync(f.File) }

// Forget implements File.
func (f *osFile) Forget() error { return dropCache(f.File) }

// Size implements File.
func (f *osFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}
