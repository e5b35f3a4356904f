package push

import (
	"time"

	"miniblog/internal/event"
)

// triesKept is how many attempts are remembered of each subscriber, the newest,
// and keptOfEvent how many bytes of what each has sent.
const (
	triesKept   = 50
	keptOfEvent = 512
)

// Attempt is a request that was sent to a subscriber, and its answer.
type Attempt struct {
	Sequence event.Sequence `json:"sequence"`
	ID       string         `json:"id"`
	Attempt  int            `json:"attempt"`        // of this event, from 1
	Check    bool           `json:"check,omitzero"` // sent once more to see whether the subscriber takes anything
	Again    bool           `json:"again,omitzero"` // it was a dead letter
	Began    time.Time      `json:"began"`
	MS       float64        `json:"ms"` // until its answer was read
	Request  Request        `json:"request"`
	Outcome  string         `json:"outcome"`         // a word, as in the metrics
	Status   int            `json:"status,omitzero"` // none without an answer
	Answer   string         `json:"answer"`          // its beginning, or why there was none
}

// Request is what was sent.
type Request struct {
	Method  string            `json:"method"`
	URL     string            `json:"url"` // without its password
	Headers map[string]string `json:"headers"`
	Body    string            `json:"body"`  // its beginning
	Bytes   int               `json:"bytes"` // of the whole body
}

// tries remembers the newest attempts, in a ring.
type tries struct {
	ring  [triesKept]try
	count int // that were ever remembered
}

// try is what is kept of an attempt; what all have in common is added when
// somebody looks.
type try struct {
	Attempt
	body []byte
}

func (t *tries) remember(r result) {
	kept := &t.ring[t.count%triesKept]
	t.count++
	line := r.delivery.line
	kept.body = append(kept.body[:0], line[:min(len(line), keptOfEvent)]...)
	kept.Attempt = Attempt{
		Sequence: r.delivery.sequence, ID: r.delivery.id, Attempt: r.delivery.attempts + 1, Check: r.delivery.check, Again: r.delivery.again != nil,
		Began: r.began.UTC(), MS: float64(r.took.Microseconds()) / 1000, Request: Request{Bytes: len(line)},
		Outcome: outcomes[r.verdict], Status: r.status, Answer: r.answer,
	}
}

// list returns the attempts, the newest first.
func (t *tries) list(e *endpoint) []Attempt {
	all := make([]Attempt, 0, triesKept)
	for n := t.count - 1; n >= max(0, t.count-triesKept); n-- {
		kept := t.ring[n%triesKept]
		headers := map[string]string{"Idempotency-Key": kept.ID}
		for _, name := range []string{"Content-Type", "Accept", "User-Agent"} {
			if value := e.request.Header.Get(name); value != "" {
				headers[name] = value
			}
		}
		kept.Request.Method, kept.Request.URL, kept.Request.Headers = e.request.Method, withoutPassword(e.request.URL.String()), headers
		kept.Request.Body = beginning(kept.body)
		all = append(all, kept.Attempt)
	}
	return all
}
