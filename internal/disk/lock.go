package disk

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// ErrLocked says that another process holds the lock.
var ErrLocked = errors.New("is locked")

var errOwner = errors.New("all files in it must belong to the user that runs this service")

// OfOwner adds what to do to an error that says that a file in a folder may not be
// used; another stays as it is.
func OfOwner(err error) error {
	if errors.Is(err, fs.ErrPermission) {
		err = fmt.Errorf("%w; %w", err, errOwner)
	}
	return err
}

// Lock makes this process the only owner of the folder at path until it calls
// unlock or ends, however it ends. It does not wait: its error wraps ErrLocked
// if there is another owner, and the caller adds what to do about it.
//
// The file "lock" in the folder stays; it means nothing by itself.
func Lock(path string) (unlock func() error, err error) {
	path = filepath.Join(path, "lock")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	if err := lockFile(f); err != nil {
		f.Close()
		return nil, fmt.Errorf("%s %w", path, err)
	}
	return func() error { return errors.Join(unlockFile(f), f.Close()) }, nil
}
