package main

import (
	"hash/fnv"
	"math"
	"math/rand/v2"
	"slices"
	"time"
)

// order is what puts events in order: it takes groups of them, several at a
// time, and a group of n takes Group + n × Event. Events are applied one after
// the other, whatever is in flight.
type order struct {
	Name     string
	Group    time.Duration
	Event    time.Duration
	InFlight int
	MostIn   int // events in a group
}

// most is how many events a second it can have at the very most.
func (o order) most() float64 {
	full := float64(o.Group)/float64(o.MostIn) + float64(o.Event)
	return float64(time.Second) / max(float64(o.Event), full/float64(o.InFlight))
}

// result is what a simulation came to.
type result struct {
	perGroup float64 // events
	groups   float64 // a second
	waits    []time.Duration
}

func (r *result) quantile(q float64) time.Duration {
	return r.waits[min(int(q*float64(len(r.waits))), len(r.waits)-1)].Round(10 * time.Microsecond)
}

// How long is simulated: so many publications, and so many seconds, that a
// backlog shows.
const (
	leastArrivals = 100_000
	leastSeconds  = 4
)

// simulate runs publications of one event that come at random (Poisson), so many
// a second, against an order. What comes while all that may be in flight is in
// flight waits, and goes as one group.
func simulate(o order, rate float64, seed uint64) *result {
	random := rand.New(rand.NewPCG(seed, seed))
	arrivals := max(leastArrivals, int(leastSeconds*rate))
	came := make([]float64, arrivals) // seconds
	now := 0.0
	for i := range came {
		now += random.ExpFloat64() / rate
		came[i] = now
	}
	r := &result{waits: make([]time.Duration, 0, arrivals)}
	free := make([]float64, o.InFlight) // when each may send again
	applied := 0.0                      // when the last event of what went before is applied
	groups := 0
	for next := 0; next < arrivals; groups++ {
		sender := 0
		for i := range free {
			if free[i] < free[sender] {
				sender = i
			}
		}
		start := max(free[sender], came[next])
		end := next
		for end < arrivals && end-next < o.MostIn && came[end] <= start {
			end++
		}
		stored := start + o.Group.Seconds()
		applied = max(stored, applied) + float64(end-next)*o.Event.Seconds()
		free[sender] = applied
		for ; next < end; next++ {
			r.waits = append(r.waits, time.Duration((applied-came[next])*float64(time.Second)))
		}
	}
	slices.Sort(r.waits)
	r.perGroup = float64(arrivals) / float64(groups)
	r.groups = float64(groups) / applied
	return r
}

// limit returns the highest rate at which 99 of 100 publications take no longer
// than the given time.
func (o order) limit(most time.Duration, seed uint64) float64 {
	low, high := 1.0, 1.5*o.most()
	for high/low > 1.02 {
		if rate := math.Sqrt(low * high); simulate(o, rate, seed).quantile(0.99) <= most {
			low = rate
		} else {
			high = rate
		}
	}
	return low
}

// division is posts divided over several logs.
type division struct {
	share  float64       // of all events that the busiest log has
	limit  float64       // events a second, all together
	groups float64       // a second, all together, at half of one log's limit
	all    time.Duration // p99 of waiting for every log, at that rate
}

// divide gives each post to a log by a hash of its id. A post's events stay in
// one log, so the most commented one bounds what dividing brings. one is the
// limit of a single log.
func divide(o order, logs int, a assumptions, one float64, seed uint64) division {
	random := rand.New(rand.NewPCG(seed, 2*seed+1))
	const blogs = 200 // of which the average is taken
	var sum float64
	for range blogs {
		load := make([]float64, logs)
		total := 0.0
		for k := range a.ActivePosts {
			weight := 1 / math.Pow(float64(k+1), a.Zipf)
			h := fnv.New64a()
			var id [8]byte
			for i, bits := 0, random.Uint64(); i < len(id); i, bits = i+1, bits>>8 {
				id[i] = byte(bits)
			}
			h.Write(id[:])
			load[h.Sum64()%uint64(logs)] += weight
			total += weight
		}
		sum += slices.Max(load) / total
	}
	d := division{share: sum / blogs}
	d.limit = one / d.share
	each := simulate(o, one/2/float64(logs), seed)
	d.groups = each.groups * float64(logs)
	// The slowest of all is below t when each is.
	d.all = each.quantile(math.Pow(0.99, 1/float64(logs)))
	return d
}
