// Package logtest damages the files of logs, for tests.
package logtest

import (
	"os"
	"path/filepath"
	"testing"
)

// Segment returns the file of the log in dir, which must have just one.
func Segment(t testing.TB, dir string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.zst"))
	if err != nil || len(files) != 1 {
		t.Fatalf("the log has the files %v, %v", files, err)
	}
	return files[0]
}

// Damage flips bits of that file, part (0 to 1) of the way into it: over more bytes
// than a header has, which a reader of frames passes over.
func Damage(t testing.TB, dir string, part float64) {
	t.Helper()
	text, err := os.ReadFile(Segment(t, dir))
	if err != nil {
		t.Fatal(err)
	}
	at := int(part * float64(len(text)))
	for i := at; i < min(at+64, len(text)); i++ {
		text[i] ^= 0x10
	}
	if err := os.WriteFile(Segment(t, dir), text, 0o644); err != nil {
		t.Fatal(err)
	}
}
