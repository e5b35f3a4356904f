package service

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// restEvery is how often a process looks whether a load is over, and restBytes
// how much it must have allocated since it gave memory back, for that to be worth
// another collection.
const (
	restEvery = 2 * time.Second
	restBytes = 4 << 20
)

// giveBack returns to the system what a load needed, once that is over, until
// ctx ends. The runtime collects when the heap has grown to twice of what the last
// collection kept. Under a load that is many times a second; but a process at rest
// would keep what it had then for minutes, and what it mapped for longer.
func giveBack(ctx context.Context) error {
	tick := time.NewTicker(restEvery)
	defer tick.Stop()
	last := heapNow()
	for given := last.allocated; ; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		now := heapNow()
		if now.collections == last.collections && now.allocated > given+restBytes {
			debug.FreeOSMemory() // it collects first
			now = heapNow()
			given = now.allocated
		}
		last = now
	}
}

// heapUse is how often the heap was collected and how many bytes were ever allocated.
type heapUse struct{ collections, allocated uint64 }

func heapNow() heapUse {
	samples := []metrics.Sample{{Name: "/gc/cycles/total:gc-cycles"}, {Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(samples)
	return heapUse{samples[0].Value.Uint64(), samples[1].Value.Uint64()}
}
