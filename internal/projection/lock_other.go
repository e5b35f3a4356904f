//go:build !unix

package projection

import (
	"fmt"
	"os"
	"path/filepath"
)

// lock makes this process the only owner of dir until the file is closed. Where
// there is no flock, the file is kept open by its owner, and a file that is
// open cannot be removed.
func lock(dir string) (*os.File, error) {
	path := filepath.Join(dir, "lock")
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		return nil, fmt.Errorf("DATA_DIR=%q is in use by another process (%s is open): stop that one, or give this one a folder of its own", dir, path)
	}
	return os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o644)
}
