//go:build unix

package projection

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// lock makes this process the only owner of dir until the file is closed; the
// kernel gives the lock back when a process dies.
func lock(dir string) (*os.File, error) {
	path := filepath.Join(dir, "lock")
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		file.Close()
		return nil, fmt.Errorf("DATA_DIR=%q is in use by another process (%s is locked): stop that one, or give this one a folder of its own", dir, path)
	}
	return file, nil
}
