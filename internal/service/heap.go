package service

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
)

// defaultHeap is how large a heap may grow before it is collected, in bytes: with
// what else a process has, 25 MB of memory.
const defaultHeap = 12 << 20

// collectFrom has the collector wait until the heap has that many bytes. By itself
// it waits until the heap has doubled, and a service keeps a few megabytes and
// allocates hundreds of them in a second under load: it would collect all the
// time. Where twice of what is kept is more, that is what counts, as ever; so do
// GOMEMLIMIT, and GOGC if it is set.
func collectFrom(heap uint64) {
	if percent := debug.SetGCPercent(100); percent != 100 { // somebody has chosen
		debug.SetGCPercent(percent)
		return
	}
	collecting.Lock()
	started := collecting.heap > 0
	collecting.heap = heap
	collecting.Unlock()
	if !started {
		afterEachCollection(setPercent)
	}
	setPercent()
}

// runtimeLeast is the heap, in bytes, that the runtime never collects at 100 percent;
// at others it is as many percent of it.
const runtimeLeast = 4 << 20

// collecting is the process's.
var collecting struct {
	sync.Mutex
	heap    uint64
	percent int // as it was set last
}

// setPercent makes the next collection begin where it should: the runtime is told
// how many percent of what it has kept, stacks and globals included, may come on top.
func setPercent() {
	kept := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/gc/scan/stack:bytes"}, {Name: "/gc/scan/globals:bytes"}}
	metrics.Read(kept)
	live := kept[0].Value.Uint64()
	scanned := max(1, live+kept[1].Value.Uint64()+kept[2].Value.Uint64())
	collecting.Lock()
	defer collecting.Unlock()
	percent := 100
	if live < collecting.heap {
		percent = max(percent, int(min(100*(collecting.heap-live)/scanned, 100*collecting.heap/runtimeLeast)))
	}
	if off := percent - collecting.percent; off > percent/8 || off < -percent/8 { // to set it stops all goroutines for a moment
		collecting.percent = percent
		debug.SetGCPercent(percent)
	}
}

// afterEachCollection has f called, from then on, when the heap was collected.
func afterEachCollection(f func()) {
	garbage := new([64]byte)
	runtime.SetFinalizer(garbage, func(*[64]byte) {
		f()
		afterEachCollection(f)
	})
}
