package service

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"testing"
	"testing/synctest"
	"time"
)

var garbage []byte

// What a load needed goes back to the system when it is over, though the runtime
// would collect only when the heap has doubled.
func TestMemoryOfALoadIsGivenBack(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(1000)) // so that it does not do so by itself
	synctest.Test(t, func(t *testing.T) {
		go giveBack(t.Context())
		synctest.Wait()
		garbage = make([]byte, 64<<20)
		for i := range garbage {
			garbage[i] = 1
		}
		garbage = nil
		before := resident()
		time.Sleep(3 * restEvery)
		synctest.Wait()
		if after := resident(); after+48<<20 > before {
			t.Errorf("%d bytes of heap are the process's after the load, %d in it", after, before)
		}
	})
}

// A process that allocates next to nothing is left alone.
func TestProcessAtRestIsNotCollected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		runtime.GC()
		before := heapNow().collections
		go giveBack(t.Context())
		time.Sleep(100 * restEvery)
		synctest.Wait()
		if after := heapNow().collections; after != before {
			t.Errorf("it was collected %d times", after-before)
		}
	})
}

// resident returns how many bytes of heap the process has from the system.
func resident() uint64 {
	samples := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/heap/unused:bytes"}, {Name: "/memory/classes/heap/free:bytes"}}
	metrics.Read(samples)
	return samples[0].Value.Uint64() + samples[1].Value.Uint64() + samples[2].Value.Uint64()
}
