package eventlog

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

var (
	groupEvents = promauto.NewHistogram(prometheus.HistogramOpts{
		Name:    "event_bus_group_events",
		Help:    "Events that are written to the disk together, by one write and one sync.",
		Buckets: prometheus.ExponentialBuckets(1, 4, 8), // to 16384
	})
	syncSeconds = promauto.NewHistogram(prometheus.HistogramOpts{
		Name:    "event_bus_sync_duration_seconds",
		Help:    "Time that the disk takes to sync a group of events; a copy in a cluster does not wait for it.",
		Buckets: prometheus.ExponentialBuckets(.0001, 2, 14), // to 0.8 s
	})
)
