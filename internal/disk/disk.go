// Package disk keeps files that must not be lost: a folder and its files, what
// is made or replaced whole, what is appended, and the lock that keeps a second
// process out.
//
// Its law: what a function promises "durably" is there after any crash once
// the function has returned nil; what it promises "whole" is, after an error or
// a crash in the middle of it, as it was before or as it was to be, and never a
// part or a mixture. Writes, renames and removals by themselves promise
// nothing: each method says which sync makes its work durable.
//
// A Folder has two implementations: Dir, the real one, and crashdisk, which
// loses at a crash what was not synced. One test suite runs over both.
package disk

import (
	"errors"
	"io"
	"io/fs"
	"syscall"
)

// Folder is a folder of files, each named by its name in the folder. Its owner
// is one process, which holds the Lock.
type Folder interface {
	// Create makes a new file, or empties one that exists, for reading and
	// writing. SyncDir makes its name durable.
	Create(name string) (File, error)
	// Open opens an existing file for reading and writing.
	Open(name string) (File, error)
	// List returns the names of all files; folders are not listed.
	List() ([]string, error)
	// Rename gives a file another name, and replaces the file that had it. After
	// a crash the old name is there, the new one or both, until SyncDir.
	Rename(from, to string) error
	// Remove removes a name; whoever has the file open can go on reading it.
	// After a crash the name may be there again, until SyncDir.
	Remove(name string) error
	// SyncDir makes durable what was created, renamed and removed.
	SyncDir() error
}

// File is an open file. ReadAt may run beside everything else; one goroutine
// at a time does the rest.
type File interface {
	io.ReaderAt
	// WriterAt: after a crash, any part of a write may be there until Sync.
	io.WriterAt
	// Section returns a reader of up to size bytes from offset on. From it,
	// io.Copy to a socket leaves the copying to the kernel where it can. It is
	// valid until the next call of Section.
	Section(offset, size int64) (io.Reader, error)
	// Truncate cuts the file off, or fills it up with zeroes.
	Truncate(size int64) error
	// Reserve gives the file room for size bytes: it is that long then, at least,
	// with zeroes where nothing was written, and once it is synced, to sync what is
	// written within changes nothing but those bytes on disk. After a crash any part
	// of the room may be there, until Sync. After an error the file is as long as it
	// was, if it can be cut off again.
	Reserve(size int64) error
	// Sync makes the file's bytes and its size durable. After an error nothing
	// is known of what is on disk, and a second Sync would lie: the file must be
	// neither written to nor synced through this descriptor.
	Sync() error
	// Forget makes the next read come from the disk and not from the kernel's
	// memory, of what is synced and where the system can.
	Forget() error
	Size() (int64, error)
	// Close syncs nothing.
	Close() error
}

// SyncAside is f.Sync for when many goroutines have something to do: it leaves the
// processor to them at once, where Go's scheduler takes it from a thread that waits
// for the disk only after a while, and looks after it in between. By itself it takes
// a sixth longer.
func SyncAside(f File) error {
	if file, real := f.(*osFile); real {
		return syncAside(file.File)
	}
	return f.Sync()
}

// TempSuffix ends the name of a file that is being made: nothing is promised
// of it, and its owner removes it at the next start, or writes it again.
const TempSuffix = ".tmp"

// ErrUnchanged is wrapped by errors of Make and Replace that left the folder as
// it was, but for a name with TempSuffix.
var ErrUnchanged = errors.New("nothing was changed")

// Make makes or replaces a file, whole and durably, with what write puts into
// it, and returns it open. The error may wrap ErrUnchanged.
//
//	create name.tmp   ┐
//	write             ├ an error or a crash: what was there before
//	sync name.tmp     ┘ an error: name.tmp is removed again, if it can be
//	rename to name    ┐ an error or a crash: what was there before or the new
//	sync the folder   ┘ file, whole; it is not known which
func Make(folder Folder, name string, write func(File) error) (File, error) {
	f, err := folder.Create(name + TempSuffix)
	if err != nil {
		return nil, unchanged(err)
	}
	if err = write(f); err == nil {
		err = f.Sync()
	}
	syncDir := folder.SyncDir
	if d, real := folder.(Dir); real && err == nil { // after the rename it would be too late to lack a descriptor
		syncDir, err = d.openNames()
	}
	if err != nil {
		f.Close()
		folder.Remove(name + TempSuffix)
		return nil, unchanged(err)
	}
	err = folder.Rename(name+TempSuffix, name)
	if synced := syncDir(); err == nil {
		err = synced
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// unchanged adds ErrUnchanged to err without a word more in its text.
func unchanged(err error) error { return &unchangedError{err} }

type unchangedError struct{ error }

func (e *unchangedError) Unwrap() []error { return []error{ErrUnchanged, e.error} }

// Replace gives a file new contents, whole and durably. The file need not exist.
func Replace(folder Folder, name string, contents []byte) error {
	f, err := Make(folder, name, func(f File) error {
		_, err := f.WriteAt(contents, 0)
		return err
	})
	if err != nil {
		return err
	}
	return f.Close()
}

// Append adds contents at the end of a file, durably; the file need not exist.
// After an error or a crash any part of contents may be there, torn: whoever
// reads the file must see where a record begins and whether it is whole.
//
//	open, or create   ┐
//	write at the end  ├ an error or a crash: any part of contents
//	sync              │
//	sync the folder   ┘
func Append(folder Folder, name string, contents []byte) error {
	f, err := folder.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		f, err = folder.Create(name)
	}
	if err != nil {
		return err
	}
	end, err := f.Size()
	if err == nil {
		_, err = f.WriteAt(contents, end)
	}
	if err == nil {
		err = f.Sync()
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return err
	}
	return folder.SyncDir() // the file may be new, also from a call that failed
}

// IsFull tells whether err says that there is no room: it heals by itself when
// somebody makes some.
func IsFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// OutOfFiles tells whether err says that no more files can be open at once:
// nothing was done, and it heals by itself when some are closed.
func OutOfFiles(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
}
