package reaction

import (
	"log/slog"
	"mime"
	"net/http"
	"strings"

	"miniblog/internal/event"
	"miniblog/internal/web"
	"miniblog/internal/wire"
)

// This file is for a bus that is simpler than ours, as the course's is: it passes
// over what a push is answered with.

// takesReplies tells whether the bus stores the event that a push is answered
// with.
func takesReplies(r *http.Request) bool {
	for _, accept := range r.Header.Values("Accept") {
		for name := range strings.SplitSeq(accept, ",") {
			if mediaType, _, err := mime.ParseMediaType(name); err == nil && mediaType == wire.Event {
				return true
			}
		}
	}
	return false
}

// publish publishes a reply, and answers when the bus has stored it.
func (rc Receiver) publish(w http.ResponseWriter, r *http.Request, cause *event.Event, reply event.Event) error {
	due, cancel := web.UntilDue(w, r)
	defer cancel()
	receipt, err := rc.Bus.Publish(due, reply)
	if err != nil {
		return err
	}
	slog.InfoContext(r.Context(), "reaction published", "cause", cause.ID, "event", reply.ID, "type", reply.Type, "sequence", receipt.Sequence.String())
	return web.WriteJSON(w, http.StatusOK, struct{}{})
}
