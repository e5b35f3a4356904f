package service

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"testing"
	"time"
)

var kept []byte

// A process that keeps little is collected when its heap has what it may have, and
// not each time that it has doubled; one that keeps much is, as ever.
func TestSmallHeapIsNotCollectedAllTheTime(t *testing.T) {
	percent := debug.SetGCPercent(100)
	t.Cleanup(func() {
		collecting.Lock()
		collecting.heap, collecting.percent = 1, 0 // the runtime's own way counts again
		collecting.Unlock()
		kept = nil
		debug.SetGCPercent(percent)
	})
	const heap = 64 << 20
	collectFrom(heap)
	wantGoal(t, heap)
	kept = make([]byte, 2*heap)
	wantGoal(t, 4*heap)
	kept = nil
	wantGoal(t, heap)
}

// wantGoal collects and waits until the next collection is to begin at about that
// many bytes.
func wantGoal(t *testing.T, bytes uint64) {
	t.Helper()
	goal := []metrics.Sample{{Name: "/gc/heap/goal:bytes"}}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		runtime.GC()
		metrics.Read(goal)
		got := goal[0].Value.Uint64()
		if got > bytes*7/8 && got < bytes*9/8 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the heap is collected at %d bytes, want %d", got, bytes)
		}
	}
}
