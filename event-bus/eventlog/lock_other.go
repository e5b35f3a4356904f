//go:build !unix

package eventlog

import (
	"fmt"
	"os"
)

// lockFile keeps other processes out by a file that only one can make: where
// there is no flock, one that was killed leaves it behind.
func lockFile(path string) (unlock func() error, err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	if os.IsExist(err) {
		return nil, fmt.Errorf("%s exists: another event-bus has this log open; stop it first, or remove the file if none runs", path)
	}
	if err != nil {
		return nil, err
	}
	return func() error { f.Close(); return os.Remove(path) }, nil
}
