package service

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// A process rests if it has allocated less than restBytes within restEvery. It then
// gives memory back, if that was worth it: if it had allocated loadBytes since it
// did so last.
const (
	restEvery = 2 * time.Second
	restBytes = 256 << 10
	loadBytes = 4 << 20
)

// giveBack returns to the system what a load needed, once that is over, until
// ctx ends. The runtime collects when the heap has grown to twice of what the last
// collection kept; but a process at rest would keep what it had then for minutes,
// and what it mapped for longer. Under a load it would have to fetch again at once
// what it gives back.
func giveBack(ctx context.Context) error {
	tick := time.NewTicker(restEvery)
	defer tick.Stop()
	last := allocated()
	for given := last; ; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		now := allocated()
		if now < last+restBytes && now > given+loadBytes {
			debug.FreeOSMemory() // it collects first
			now = allocated()
			given = now
		}
		last = now
	}
}

// allocated is how many bytes were ever allocated on the heap.
func allocated() uint64 {
	samples := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(samples)
	return samples[0].Value.Uint64()
}
