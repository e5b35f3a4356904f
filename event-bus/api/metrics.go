package api

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

var (
	appendSeconds = promauto.NewHistogram(prometheus.HistogramOpts{
		Name:    "event_bus_append_duration_seconds",
		Help:    "Time from the moment when events were read to the moment when they are durable, of requests and of replies; also if it fails.",
		Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5},
	})
	batchBytes = promauto.NewGauge(prometheus.GaugeOpts{
		Name: "event_bus_batch_memory_bytes",
		Help: "Memory that large batches have reserved which are being read.",
	})
)
