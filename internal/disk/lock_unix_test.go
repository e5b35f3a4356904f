//go:build unix

package disk

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// A child has what its parent has open from the moment it is made until it runs
// its program.
func TestLockIsGivenBackWhileAChildStillHasItsFile(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	ofChild, err := unix.Dup(int(f.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(ofChild)
	if err := lockFile(f); err != nil {
		t.Fatal(err)
	}
	if err := unlockFile(f); err != nil {
		t.Fatal(err)
	}
	again, err := os.Open(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if err := lockFile(again); err != nil {
		t.Errorf("it %v", err)
	}
}
