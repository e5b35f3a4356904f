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
	mostRests = 512 // after which nothing is left to give back
)

// giveBack returns to the system what a load needed, once that is over, until
// ctx ends. The runtime collects when the heap has grown to twice of what the last
// collection kept; but a process at rest would keep what it had then for minutes,
// and what it mapped for longer. Under a load it would have to fetch again at once
// what it gives back.
//
// One time is not enough: a process may allocate nothing and be at work with much,
// as the sealer of a log is, and a pool forgets what it holds at the second
// collection alone. So it is done again, after twice as many rests each time.
func giveBack(ctx context.Context) error {
	tick := time.NewTicker(restEvery)
	defer tick.Stop()
	last := allocated()
	given, rests, next := last, 0, 0 // next is after how many rests; 0: never
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		now := allocated()
		if now > given+loadBytes {
			rests, next = 0, 1
		}
		if now < last+restBytes {
			rests++
		}
		if next > 0 && rests >= next {
			debug.FreeOSMemory() // it collects first
			now = allocated()
			given = now
			if next *= 2; next > mostRests {
				next = 0
			}
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
