package disk

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// dirty returns how many pages of f are not on the disk yet: cachestat(2), which
// Linux has since 6.5.
func dirty(t *testing.T, f *os.File) uint64 {
	t.Helper()
	const cachestat = 451 // on every architecture but alpha
	var all struct{ offset, size uint64 }
	var pages struct{ cached, dirty, writing, evicted, evictedLately uint64 }
	_, _, errno := unix.Syscall6(cachestat, f.Fd(), uintptr(unsafe.Pointer(&all)), uintptr(unsafe.Pointer(&pages)), 0, 0, 0)
	if errno == unix.ENOSYS || errno == unix.EPERM || errno == unix.EOPNOTSUPP {
		t.Skip("NOT CHECKED: this kernel does not tell what is not on the disk yet")
	}
	if errno != 0 {
		t.Fatal(errno)
	}
	return pages.dirty + pages.writing
}

func TestWhatIsSyncedAsideIsOnTheDisk(t *testing.T) {
	if _, err := queue(); err != nil {
		t.Skip("NOT CHECKED: ", err)
	}
	broken, err := openQueue() // whose eventfd cannot be read
	if err != nil {
		t.Fatal(err)
	}
	defer broken.done.Close()
	if broken.done, err = os.Open(os.DevNull); err != nil {
		t.Fatal(err)
	}
	broken.done.Close()
	dir := t.TempDir()
	var all sync.WaitGroup
	for i := range 8 { // of which one waits for another
		f, err := os.Create(filepath.Join(dir, fmt.Sprint(i)))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := f.Write(make([]byte, 100_000)); err != nil {
			t.Fatal(err)
		}
		if i == 0 && dirty(t, f) == 0 {
			t.Skip("NOT CHECKED: this file system writes at once, or keeps nothing")
		}
		aside := syncAside
		if i == 7 {
			aside = broken.sync
		}
		all.Go(func() {
			if err := aside(f); err != nil {
				t.Error(err)
			}
			if n := dirty(t, f); n > 0 {
				t.Errorf("%d pages are not on the disk", n)
			}
		})
	}
	all.Wait()
}

// TestWhatTheKernelDoesNotSyncAsideIsSynced: a pipe cannot be synced in either way.
func TestWhatTheKernelDoesNotSyncAsideIsSynced(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	if q, err := queue(); err == nil && !errors.Is(q.sync(w), errNoQueue) {
		t.Error("a pipe was queued")
	}
	if err := syncAside(w); !errors.Is(err, unix.EINVAL) {
		t.Errorf("a pipe was synced: %v", err)
	}
}
