// Package harness starts the blog's real processes for tests, on free ports and
// with folders of their own, and ends them again.
//
// Its law: no process outlives its test, whatever becomes of the test; and a
// process that ends without having been told to, or whose handler panicked,
// fails it.
package harness

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// services are the programs of the blog, and the folders they are built from.
var services = []string{"event-bus", "posts", "comments", "query", "moderation", "client"}

// Main is a package's TestMain: it runs the tests and removes what they built.
func Main(m *testing.M) {
	root, err := Root()
	if err == nil {
		err = mkdir(filepath.Join(root, "bin"))
	}
	if err == nil { // in the same file system as what is built
		built, err = os.MkdirTemp(filepath.Join(root, "bin"), "test-run-")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(built)
	os.Exit(code)
}

// built is the folder for the programs.
var built string

// build builds the six programs on the first call. With RACE=1 they have the
// race detector, which slows them down several times.
//
// Packages that are tested side by side build into one folder, one after the
// other, so that only the first has work to do; links keep what each of them
// found there.
var build = sync.OnceValue(func() error {
	if built == "" {
		return errors.New("the package needs func TestMain(m *testing.M) { harness.Main(m) }")
	}
	root, err := Root()
	if err != nil {
		return err
	}
	if err := noteSources(root); err != nil {
		return err
	}
	shared, flag := filepath.Join(root, "bin", "test"), "-ldflags=-s -w"
	if os.Getenv("RACE") == "1" {
		shared, flag = shared+"-race", "-race"
	}
	if err := mkdir(shared); err != nil {
		return err
	}
	lock, err := os.OpenFile(filepath.Join(shared, "lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return err
	}
	defer lock.Close() // gives it back
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return fmt.Errorf("locking %s: %w", shared, err)
	}
	args := []string{"build", flag, "-o", shared + string(filepath.Separator)}
	for _, name := range services {
		args = append(args, "./"+name)
	}
	command := exec.Command("go", args...)
	command.Dir = root
	if out, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	for _, name := range services {
		if err := os.Link(filepath.Join(shared, name), filepath.Join(built, name)); err != nil {
			return err
		}
	}
	return nil
})

// mkdir makes a folder unless it is there. It does not look at it: the go
// command would take that for something that the tests depend on.
func mkdir(dir string) error {
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

// noteSources reads the module's folders, so that the go command, which keeps
// the results of tests, knows what these depend on.
func noteSources(root string) error {
	return filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() && path != root && slices.Contains([]string{".git", "bin", "data"}, entry.Name()) {
			return fs.SkipDir
		}
		return err
	})
}

// Root returns the module's folder.
func Root() (string, error) {
	out, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("asking go for the module's folder: %w", err)
	}
	file := strings.TrimSpace(string(out))
	if filepath.Base(file) != "go.mod" {
		return "", errors.New("the tests must run inside the module")
	}
	return filepath.Dir(file), nil
}

// Run runs one of the programs to its end and returns what it wrote.
func Run(t testing.TB, program string, args ...string) (output string, err error) {
	t.Helper()
	out, err := Command(t, program, args...).CombinedOutput()
	return string(out), err
}

// Command returns a command that runs one of the programs.
func Command(t testing.TB, program string, args ...string) *exec.Cmd {
	t.Helper()
	if err := build(); err != nil {
		t.Fatal(err)
	}
	return exec.CommandContext(t.Context(), filepath.Join(built, program), args...)
}

// Eventually waits until check returns nil, and fails the test with its last
// error when it has not after limit.
func Eventually(t testing.TB, limit time.Duration, check func() error) {
	t.Helper()
	deadline := time.Now().Add(limit)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("after %v still: %v", limit, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
