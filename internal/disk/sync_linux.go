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

// allocate gives f room for size bytes, and that length unless it is longer. What
// was not written before reads as zeroes: its blocks are marked as unwritten.
func allocate(f *os.File, size int64) error {
	for {
		err := unix.Fallocate(int(f.Fd()), 0, 0, size)
		if err != unix.EINTR {
			return os.NewSyscallError("fallocate", err)
		}
	}
}
