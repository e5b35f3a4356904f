package push

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

var attempts = promauto.NewCounterVec(prometheus.CounterOpts{
	Name: "event_bus_push_attempts_total",
	Help: "Attempts to deliver an event to a subscriber, by what they came to.",
}, []string{"subscriber", "outcome"})

var outcomes = map[verdict]string{
	delivered: "delivered", unreachable: "unreachable", silent: "no_answer", cut: "cut_off", refused: "refused", rejected: "rejected", gone: "gone",
	badReply: "bad_reply", notStored: "reply_not_stored",
}

func (d *dispatcher) count(v verdict) { attempts.WithLabelValues(d.sub.Name, outcomes[v]).Inc() }
