package push

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

var (
	attempts = promauto.NewCounterVec(prometheus.CounterOpts{
		Name: "event_bus_push_attempts_total",
		Help: "Attempts to deliver an event to a subscriber, by what they came to.",
	}, []string{"subscriber", "outcome"})
	attemptSeconds = promauto.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "event_bus_push_attempt_duration_seconds",
		Help:    "Time that an attempt takes, until a reply is stored.",
		Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
	}, []string{"subscriber"})
	windowSize = promauto.NewGaugeVec(prometheus.GaugeOpts{
		Name: "event_bus_push_window_bytes",
		Help: "Memory of the events that were read ahead for a subscriber.",
	}, []string{"subscriber"})
)

var outcomes = map[verdict]string{
	delivered: "delivered", unreachable: "unreachable", silent: "no_answer", cut: "cut_off", refused: "refused", rejected: "rejected", gone: "gone",
	badReply: "bad_reply", notStored: "reply_not_stored",
}

func (d *dispatcher) count(v verdict) { attempts.WithLabelValues(d.sub.Name, outcomes[v]).Inc() }
