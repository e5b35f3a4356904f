//go:build linux || darwin

package disk

import "golang.org/x/sys/unix"

// Room returns how many bytes are left on the disk that holds dir, and how many
// it has; zero where that cannot be known.
func Room(dir string) (free, total uint64) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, 0
	}
	return s.Bavail * uint64(s.Bsize), s.Blocks * uint64(s.Bsize)
}
