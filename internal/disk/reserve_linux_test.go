package disk_test

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"miniblog/internal/disk"
)

func TestReservedRoomIsTakenOnTheDisk(t *testing.T) {
	dir := t.TempDir()
	f := reserved(t, dir, 1<<20)
	defer f.Close()
	var info unix.Stat_t
	if err := unix.Stat(filepath.Join(dir, "a"), &info); err != nil {
		t.Fatal(err)
	}
	if taken := info.Blocks * 512; info.Size != 1<<20 || taken < 1<<20 {
		t.Errorf("a file of %d bytes takes %d on the disk", info.Size, taken)
	}
}

// What has its room before the disk is full can be written when it is.
func TestReservedRoomOutlastsAFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("none", dir, "tmpfs", 0, "size=1m"); errors.Is(err, unix.EPERM) {
		t.Skip("NOT CHECKED: a small disk of its own needs the right to mount one (root)")
	} else if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	f := reserved(t, dir, 512<<10)
	defer f.Close()
	if err := os.WriteFile(filepath.Join(dir, "ballast"), make([]byte, 1<<20), 0o644); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("the disk is not full: %v", err)
	}
	if err := f.Reserve(1 << 20); !disk.IsFull(err) {
		t.Errorf("more room on a full disk: %v", err)
	}
	if _, err := f.WriteAt(make([]byte, 512<<10), 0); err != nil {
		t.Errorf("writing where there is room: %v", err)
	}
	if size, err := f.Size(); size != 512<<10 || err != nil {
		t.Errorf("the file has %d bytes, %v", size, err)
	}
}

func reserved(t *testing.T, dir string, size int64) disk.File {
	t.Helper()
	f, err := disk.Dir(dir).Create("a")
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Reserve(size); err != nil {
		t.Fatal(err)
	}
	return f
}
