package api

import (
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"miniblog/event-bus/push"
	"miniblog/internal/event"
	"miniblog/internal/web"
)

// subscribers lists how each subscriber is doing.
func (a *API) subscribers(w http.ResponseWriter, r *http.Request) error {
	list, err := a.pusher.List(r.Context())
	if err != nil {
		return err
	}
	return web.WriteJSON(w, http.StatusOK, list)
}

// replay delivers again what came after a sequence.
func (a *API) replay(w http.ResponseWriter, r *http.Request) error {
	var request struct {
		After  sequenceOrNumber `json:"after"`
		DryRun bool             `json:"dryRun"`
	}
	if err := web.ReadJSON(w, r, &request); err != nil {
		return err
	}
	after, err := event.ParseSequence(string(request.After))
	if err != nil {
		return web.Invalid("after", "Say from where, with a whole number: {\"after\": 0} delivers everything again.")
	}
	status, err := a.pusher.Replay(r.Context(), r.PathValue("name"), after, request.DryRun)
	if errors.Is(err, push.ErrAhead) {
		return web.Invalid("after", "The cursor of this subscriber is at event %d: a replay ahead of it would pass over events that were not delivered yet.", status.Cursor)
	}
	if err != nil {
		return subscriberProblem(err)
	}
	return web.WriteJSON(w, http.StatusOK, status)
}

// subscriberProblem is the answer for an error of the pusher.
func subscriberProblem(err error) error {
	switch {
	case errors.Is(err, push.ErrUnknown):
		return web.NewProblem(http.StatusNotFound, "There is no subscriber with this name. GET /subscribers lists them.")
	case errors.Is(err, push.ErrNoOwner):
		return web.Unavailable(time.Second, err, "No copy of the event bus delivers to this subscriber at the moment. Try again soon.")
	case errors.Is(err, push.ErrNoLetter):
		return web.NewProblem(http.StatusNotFound, "This event is no dead letter of the subscriber. It may have been delivered meanwhile.")
	case errors.Is(err, push.ErrAskedToStop):
		return web.NewProblem(http.StatusConflict, "The subscriber answered 410 and gets nothing until a replay starts it again.")
	case errors.Is(err, push.ErrBusy):
		return web.NewProblem(http.StatusConflict, "Too many dead letters wait to be delivered again. Wait until some are.")
	default:
		return err
	}
}

// attempts lists what was sent to a subscriber lately, and its answers.
func (a *API) attempts(w http.ResponseWriter, r *http.Request) error {
	list, err := a.pusher.Attempts(r.Context(), r.PathValue("name"))
	if err != nil {
		return subscriberProblem(err)
	}
	return web.WriteJSON(w, http.StatusOK, list)
}

// deadLetters lists dead letters with their events, page by page. An event may
// nest as deep as JSON allows, and so the list is put together from bytes.
func (a *API) deadLetters(w http.ResponseWriter, r *http.Request) error {
	query := r.URL.Query()
	limit, err := web.Limit(query, 100, 1000)
	if err != nil {
		return err
	}
	var after event.Sequence
	if text := query.Get("after"); text != "" {
		if after, err = event.ParseSequence(text); err != nil {
			return web.Invalid("after", "The parameter after must be a sequence: a whole number.")
		}
	}
	reason := query.Get("reason")
	page, more, err := a.pusher.DeadLetters(r.Context(), r.PathValue("name"), after, reason, limit)
	if err != nil {
		return subscriberProblem(err)
	}
	body := []byte("[")
	for i, letter := range page {
		if i > 0 {
			body = append(body, ',')
		}
		if body, err = letter.Append(body); err != nil {
			return err
		}
	}
	if more {
		next := url.Values{"after": {page[len(page)-1].Sequence.String()}, "limit": {strconv.Itoa(limit)}}
		if reason != "" {
			next.Set("reason", reason)
		}
		w.Header().Set("Link", "<"+r.URL.EscapedPath()+"?"+next.Encode()+`>; rel="next"`)
	}
	web.WriteBody(w, http.StatusOK, "application/json", append(body, "]\n"...))
	return nil
}

// redeliver delivers dead letters again.
func (a *API) redeliver(w http.ResponseWriter, r *http.Request) error {
	var request struct {
		Sequence sequenceOrNumber `json:"sequence"`
		Reason   string           `json:"reason"`
		From     sequenceOrNumber `json:"from"`
		DryRun   bool             `json:"dryRun"`
	}
	if err := web.ReadJSON(w, r, &request); err != nil {
		return err
	}
	selection := push.Selection{Reason: request.Reason}
	for _, member := range []struct {
		name string
		text sequenceOrNumber
		into *event.Sequence
	}{{"sequence", request.Sequence, &selection.Sequence}, {"from", request.From, &selection.From}} {
		q, err := event.ParseSequence(string(member.text))
		if member.text != "" && (err != nil || member.name == "sequence" && q == 0) {
			return web.Invalid(member.name, "The member %s must be the sequence of an event.", member.name)
		}
		*member.into = q
	}
	switch {
	case request.Sequence == "" && request.Reason == "" && request.From == "":
		return web.Invalid("sequence", "Say which dead letters: {\"sequence\": 42} is one, {\"reason\": \"422\"} all with this reason, {\"from\": 42} those from there on.")
	case request.Sequence != "" && (request.Reason != "" || request.From != ""):
		return web.Invalid("sequence", "A sequence names one dead letter: leave reason and from out.")
	}
	result, err := a.pusher.Redeliver(r.Context(), r.PathValue("name"), selection, request.DryRun)
	if err != nil {
		return subscriberProblem(err)
	}
	return web.WriteJSON(w, http.StatusOK, result)
}

// sequenceOrNumber is the text of a sequence in a request: people write 42,
// programs send back the 20 digits that they were given.
type sequenceOrNumber string

// UnmarshalJSONFrom implements json.UnmarshalerFrom.
func (s *sequenceOrNumber) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	switch dec.PeekKind() {
	case '"', '0', 'n':
		token, err := dec.ReadToken()
		*s = sequenceOrNumber(token.String())
		return err
	default:
		return json.UnmarshalDecode(dec, (*string)(s)) // which refuses it
	}
}
