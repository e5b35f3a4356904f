// Package metrics says in Prometheus' form how the bus's parts are doing: the
// log, its subscribers and its followers. What happens (requests, appends,
// syncs, attempts) is counted where it happens.
//
// Its law: it asks when it is scraped, and nothing is on an event's way for it.
package metrics

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"miniblog/event-bus/activity"
	"miniblog/event-bus/eventlog"
	"miniblog/event-bus/push"
	"miniblog/internal/disk"
)

// Bus is what is measured.
type Bus struct {
	Log      *eventlog.Log
	Dir      string // the log's
	Failure  func() error
	Pusher   *push.Pusher
	Activity *activity.Recorder
}

// Watch measures b from now on, instead of any other, until stop is called.
func Watch(b Bus) (stop func()) {
	bus.Store(&b)
	return func() { bus.CompareAndSwap(&b, nil) }
}

// bus is the bus of this process; nil while none is open.
var bus atomic.Pointer[Bus]

func init() { prometheus.MustRegister(collector{}) }

func gauge(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("event_bus_"+name, help, labels, nil)
}

var (
	logLast     = gauge("log_last_sequence", "Sequence of the newest event of the log.")
	logBytes    = gauge("log_bytes", "Length of the log on disk.")
	logSegments = gauge("log_segments", "Files of the log.")
	logFailed   = gauge("log_read_only", "1 if the log takes no events until a restart, else 0.")
	diskFree    = gauge("disk_free_bytes", "What is left on the disk of the log; 0 with event_bus_disk_bytes 0 means unknown.")
	diskSize    = gauge("disk_bytes", "Size of the disk of the log.")

	subscriberCursor  = gauge("subscriber_cursor_sequence", "Up to where a subscriber has everything.", "subscriber")
	subscriberLag     = gauge("subscriber_lag_events", "Events of the log behind a subscriber's cursor.", "subscriber")
	subscriberLetters = gauge("subscriber_dead_letters", "Dead letters of a subscriber, since it is known.", "subscriber")
	subscriberState   = gauge("subscriber_state", "1 for the state that a subscriber is in, 0 for the others.", "subscriber", "state")

	followerLag      = gauge("follower_lag_events", "Events of the log that a follower was not sent yet.", "follower", "copy")
	followerRequests = gauge("follower_requests", "Requests of a follower that wait for events, or receive them.", "follower", "copy")
)

// collector implements prometheus.Collector.
type collector struct{}

// Describe implements prometheus.Collector.
func (collector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{logLast, logBytes, logSegments, logFailed, diskFree, diskSize,
		subscriberCursor, subscriberLag, subscriberLetters, subscriberState, followerLag, followerRequests} {
		out <- d
	}
}

// askLimit is how long a scrape waits for the subscribers' loops.
const askLimit = 2 * time.Second

// seenLimit is how long a follower that left is still measured: one that only
// asks again does not go away in between, one that was replaced does.
const seenLimit = 30 * time.Second

// Collect implements prometheus.Collector.
func (collector) Collect(out chan<- prometheus.Metric) {
	b := bus.Load()
	if b == nil {
		return
	}
	set := func(d *prometheus.Desc, value float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	last := b.Log.Last()
	bytes, segments := b.Log.Size()
	free, size := disk.Room(b.Dir)
	set(logLast, float64(last))
	set(logBytes, float64(bytes))
	set(logSegments, float64(segments))
	set(logFailed, flag(b.Failure() != nil))
	set(diskFree, float64(free))
	set(diskSize, float64(size))

	ctx, cancel := context.WithTimeout(context.Background(), askLimit)
	defer cancel()
	subscribers, _ := b.Pusher.List(ctx) // none while the bus starts or stops
	for _, s := range subscribers {
		if s.State != "unowned" { // else they are not known here
			set(subscriberCursor, float64(s.Cursor), s.Name)
			set(subscriberLag, float64(s.Lag), s.Name)
			set(subscriberLetters, float64(s.DeadLetterCount), s.Name)
		}
		for _, state := range []string{"up", "down", "failing", "stopped", "broken", "unowned"} {
			set(subscriberState, flag(s.State == state), s.Name, state)
		}
	}

	type who struct{ name, copy string }
	lags, requests := map[who]float64{}, map[who]float64{} // one may call from several addresses
	for _, f := range b.Activity.Followers(seenLimit) {
		key := who{f.Name, f.Copy}
		lag := 0.0
		if last > f.Has {
			lag = float64(last - f.Has)
		}
		lags[key] = max(lags[key], lag)
		requests[key] += float64(f.Requests)
	}
	for key, lag := range lags {
		set(followerLag, lag, key.name, key.copy)
		set(followerRequests, requests[key], key.name, key.copy)
	}
}

func flag(is bool) float64 {
	if is {
		return 1
	}
	return 0
}
