package disk

import (
	"os"

	"golang.org/x/sys/unix"
)

// fdatasync is fsync without the times that nobody needs after a crash.
func fdatasync(f *os.File) error {
	for {
		err := unix.Fdatasync(int(f.Fd()))
		if err != unix.EINTR {
			return os.NewSyscallError("fdatasync", err)
		}
	}
}

// dropCache drops the pages of f that are not waiting to be written.
func dropCache(f *os.File) error {
	return os.NewSyscallError("fadvise", unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED))
}
