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

// takeMemory has 64 MiB from the system, all of it touched.
func takeMemory() {
	garbage = make([]byte, 64<<20)
	for i := range garbage {
		garbage[i] = 1
	}
}

// What a load needed goes back to the system when it is over, though the runtime
// would collect only when the heap has doubled.
func TestMemoryOfALoadIsGivenBack(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(1000)) // so that it does not do so by itself
	synctest.Test(t, func(t *testing.T) {
		go giveBack(t.Context())
		synctest.Wait()
		takeMemory()
		garbage = nil
		before := resident()
		time.Sleep(3 * restEvery)
		synctest.Wait()
		if after := resident(); after+48<<20 > before {
			t.Errorf("%d bytes of heap are the process's after the load, %d in it", after, before)
		}
	})
}

// What is in use when a load ends is given back, too, when it is not any more.
func TestMemoryThatIsReleasedAtRestIsGivenBack(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(1000))
	synctest.Test(t, func(t *testing.T) {
		go giveBack(t.Context())
		synctest.Wait()
		takeMemory()
		time.Sleep(10 * restEvery) // some of what there was to give back has been
		before := resident()
		runtime.KeepAlive(garbage)
		garbage = nil
		time.Sleep(20 * restEvery)
		synctest.Wait()
		if after := resident(); after+48<<20 > before {
			t.Errorf("%d bytes of heap are the process's after it let go of 64 MiB, %d before", after, before)
		}
	})
}

// A process that allocates next to nothing is left alone, and so is one that is at work.
func TestProcessAtRestOrAtWorkIsNotCollected(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	for what, each := range map[string]int{"at rest": 100, "at work": 4 * restBytes} {
		synctest.Test(t, func(t *testing.T) {
			runtime.GC()
			before := collections()
			go giveBack(t.Context())
			synctest.Wait()
			for range 100 {
				garbage = make([]byte, each)
				time.Sleep(restEvery / 2)
			}
			if after := collections(); after != before {
				t.Errorf("%s it was collected %d times", what, after-before)
			}
		})
	}
	garbage = nil
}

// collections returns how often the heap was collected.
func collections() uint64 {
	samples := []metrics.Sample{{Name: "/gc/cycles/total:gc-cycles"}}
	metrics.Read(samples)
	return samples[0].Value.Uint64()
}

// resident returns how many bytes of heap the process has from the system.
func resident() uint64 {
	samples := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/heap/unused:bytes"}, {Name: "/memory/classes/heap/free:bytes"}}
	metrics.Read(samples)
	return samples[0].Value.Uint64() + samples[1].Value.Uint64() + samples[2].Value.Uint64()
}
