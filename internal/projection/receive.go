package projection

import (
	"log/slog"
	"net/http"

	"miniblog/internal/bus"
	"miniblog/internal/event"
	"miniblog/internal/web"
)

// Receive answers POST /events: an event that was pushed, or sent by hand.
func (p *Projection) Receive(w http.ResponseWriter, r *http.Request) error {
	e, err := bus.Receive(w, r)
	if err != nil {
		return err
	}
	if err := p.ApplyNow(e); err != nil {
		return err
	}
	return web.WriteJSON(w, http.StatusOK, struct{}{})
}

// Skip says that an event cannot be applied, because of what it contains.
func Skip(e *event.Event, reason error) {
	slog.Warn("an event is skipped", "event", e.ID, "type", e.Type, "sequence", e.Sequence.String(), "reason", reason)
}
