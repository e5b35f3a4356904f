// Package wait is how tests wait for what happens in its own time.
//
// Its law: a test waits for a condition, never for a time; one that waits in vain
// fails and says what for.
package wait

import (
	"testing"
	"time"
)

// limit says that a condition will not come, not how fast it has to: tests run on
// machines with other work.
const limit = time.Minute

// For waits until condition holds.
func For(t testing.TB, what string, condition func() bool) {
	t.Helper()
	for end := time.Now().Add(limit); !condition(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// Nil waits until check returns nil; else the test fails with its last error.
func Nil(t testing.TB, what string, check func() error) {
	t.Helper()
	var err error
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if err = check(); err == nil {
			return
		}
	}
	t.Fatalf("waited in vain for %s: %v", what, err)
}
