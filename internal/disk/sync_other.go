//go:build !linux

package disk

import "os"

// fdatasync is a full fsync where there is nothing cheaper (on macOS it flushes
// the drive's cache, too).
func fdatasync(f *os.File) error { return f.Sync() }

// syncAside is fdatasync where nobody else does it.
func syncAside(f *os.File) error { return fdatasync(f) }

// dropCache does nothing where there is no way to do it.
func dropCache(*os.File) error { return nil }
