package eventlog

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
