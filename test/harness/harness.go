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
	"testing"
	"time"
)

// services are the programs of the blog, and the folders they are built from.
var services = []string{"event-bus", "posts", "comments", "query", "moderation", "client"}

// Main is a package's TestMain: it runs the tests and removes what they built.
func Main(m *testing.M) {
	var err error
	if built, err = os.MkdirTemp("", "miniblog-programs-"); err != nil {
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
	args := []string{"build", "-o", built + string(filepath.Separator)}
	if os.Getenv("RACE") == "1" {
		args = append(args, "-race")
	} else {
		args = append(args, "-ldflags=-s -w")
	}
	for _, name := range services {
		args = append(args, "./"+name)
	}
	command := exec.Command("go", args...)
	command.Dir = root
	if out, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return nil
})

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
	if err := build(); err != nil {
		t.Fatal(err)
	}
	command := exec.CommandContext(t.Context(), filepath.Join(built, program), args...)
	out, err := command.CombinedOutput()
	return string(out), err
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
