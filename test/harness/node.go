package harness

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// NodeProgram returns a program of Node.js. It installs what the test's folder
// name/package-lock.json names into bin/name, unless that is there. Where it
// cannot, the test is skipped, and fails in CI.
func NodeProgram(t *testing.T, name string) string {
	t.Helper()
	root := Must(Root())(t)
	dir := filepath.Join(root, "bin", name)
	program, lock := filepath.Join(dir, "node_modules", ".bin", name), filepath.Join(dir, "package-lock.json")
	want := Must(os.ReadFile(filepath.Join(name, "package-lock.json")))(t)
	have, _ := os.ReadFile(lock)
	if _, err := os.Stat(program); err == nil && bytes.Equal(have, want) {
		return program
	}
	if _, err := exec.LookPath("npm"); err != nil {
		unable(t, fmt.Errorf("needs Node.js with npm, for %s", name))
	}
	err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o755),
		os.WriteFile(filepath.Join(dir, "package.json"), Must(os.ReadFile(filepath.Join(name, "package.json")))(t), 0o644),
		os.WriteFile(lock, want, 0o644))
	if err != nil {
		t.Fatal(err)
	}
	install := exec.CommandContext(t.Context(), "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	install.Dir = dir
	if out, err := install.CombinedOutput(); err != nil {
		os.RemoveAll(dir) // so that the next run tries again
		unable(t, fmt.Errorf("npm ci, for %s: %w: %s", name, err, out))
	}
	return program
}

func unable(t *testing.T, reason error) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(reason)
	}
	t.Skip(reason)
}
