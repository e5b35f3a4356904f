package console

import (
	"bytes"
	"context"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"miniblog/event-bus/eventlog"
	"miniblog/internal/event"
	"miniblog/internal/web"
)

// What a search may cost. One that has not found enough by then says how far it
// looked, and the page asks on from there if the person still wants to know.
const (
	searchesAtOnce = 2
	searchTime     = 200 * time.Millisecond
	mostFound      = 500
	previewBytes   = 240
	mostStatus     = 40  // bytes
	smallWindow    = 128 // events, of the first piece that is read backwards
	largeWindow    = 4096
)

// found is an event in a list.
type found struct {
	Sequence event.Sequence `json:"sequence"`
	ID       string         `json:"id"`
	Type     string         `json:"type"`
	Source   string         `json:"source,omitzero"`
	Subject  string         `json:"subject,omitzero"`
	Time     string         `json:"time,omitzero"`
	Size     int            `json:"size"`             // in bytes, as a line
	Status   string         `json:"status,omitzero"`  // in its data
	Preview  string         `json:"preview,omitzero"` // the beginning of what a person wrote, or else of its data
}

// answer is what a search came to: the events that it found, in its order, and
// the part of the log that it looked through.
type answer struct {
	Events []found        `json:"events"`
	First  event.Sequence `json:"first"` // looked through from here,
	Last   event.Sequence `json:"last"`  // to here; nothing, if that is before first
	End    event.Sequence `json:"end"`   // of the log
}

// search answers with the events that a person asks for: forwards after one, or
// backwards before one.
func (c *console) search(w http.ResponseWriter, r *http.Request) error {
	want, err := parseFilter(r.URL.RawQuery)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(c.stopping, cancel)()
	select {
	case c.searches <- struct{}{}:
		defer func() { <-c.searches }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	s := &search{ctx: ctx, log: c.log, want: want, until: time.Now().Add(searchTime)}
	s.End = c.log.Last()
	if want.backwards {
		err = s.backwards()
	} else {
		err = s.forwards()
	}
	if err != nil {
		return err
	}
	w.Header().Set("Cache-Control", "no-store")
	return web.WriteJSON(w, http.StatusOK, s.answer)
}

// filter is what a person asks for. Everything that is set must be true of an
// event.
type filter struct {
	after, before event.Sequence // both exclusive
	backwards     bool           // before was given
	limit         int
	types         []string
	subject       string // its beginning
	source        string
	id            string
	family        string // the id of an event: it, and what it caused
	text          []byte // anywhere in the line, in lower case
	since, until  string // RFC 3339 in UTC, of the event's own time
}

func parseFilter(text string) (f filter, err error) {
	v, err := url.ParseQuery(text)
	if err != nil {
		return f, web.NewProblem(http.StatusBadRequest, "The query cannot be read: %.100v.", err)
	}
	f = filter{
		before: math.MaxUint64, limit: 100, backwards: v.Has("before"),
		subject: v.Get("subject"), source: v.Get("source"), id: v.Get("id"), family: v.Get("family"),
		text: bytes.ToLower([]byte(v.Get("text"))), types: strings.FieldsFunc(v.Get("type"), func(c rune) bool { return c == ',' }),
	}
	for name, to := range map[string]*event.Sequence{"after": &f.after, "before": &f.before} {
		if text := v.Get(name); text != "" {
			if *to, err = event.ParseSequence(text); err != nil {
				return f, web.Invalid(name, "The parameter %s=%v.", name, err)
			}
		}
	}
	if text := v.Get("limit"); text != "" {
		if f.limit, err = strconv.Atoi(text); err != nil || f.limit < 1 || f.limit > mostFound {
			return f, web.Invalid("limit", "The limit must be a whole number from 1 to %d.", mostFound)
		}
	}
	for name, to := range map[string]*string{"since": &f.since, "until": &f.until} {
		if text := v.Get(name); text != "" {
			t, err := time.Parse(time.RFC3339, text)
			if err != nil {
				return f, web.Invalid(name, "The parameter %s must be a time as RFC 3339 has it.", name)
			}
			*to = event.Time(t)
		}
	}
	return f, nil
}

// takes tells whether an event is asked for.
func (f *filter) takes(line event.Line) bool {
	switch {
	case len(f.types) > 0 && !slices.Contains(f.types, string(line.Type())),
		f.subject != "" && !bytes.HasPrefix(line.Subject(), []byte(f.subject)),
		f.source != "" && string(line.Source()) != f.source,
		f.id != "" && string(line.ID()) != f.id,
		f.family != "" && !f.isFamily(line.ID()):
		return false
	case len(f.text) > 0 && !bytes.Contains(bytes.ToLower(line.Text()), f.text):
		return false
	case f.since == "" && f.until == "":
		return true
	}
	t := string(line.Time())
	return (f.since == "" || t >= f.since) && (f.until == "" || t <= f.until)
}

// isFamily tells whether an id is that of the family's first event, or derived
// from it.
func (f *filter) isFamily(id []byte) bool {
	rest, ok := bytes.CutPrefix(id, []byte(f.family))
	return ok && (len(rest) == 0 || rest[0] == '/')
}

// search is a search under way.
type search struct {
	answer
	ctx   context.Context
	log   *eventlog.Log
	want  filter
	until time.Time
}

// over tells whether enough was found, or looked for.
func (s *search) over() bool { return len(s.Events) >= s.want.limit || time.Now().After(s.until) }

// forwards looks from after on.
func (s *search) forwards() error {
	s.First, s.Last = s.want.after+1, s.want.after
	reader := s.log.Reader(s.want.after)
	defer reader.Close()
	if s.want.matchesAll() {
		reader.Want(uint64(s.want.limit))
	}
	end := min(s.End, s.want.before-1)
	for s.Last < end && !s.over() {
		if err := s.ctx.Err(); err != nil {
			return err
		}
		b, err := reader.Next()
		if err != nil || b.Count == 0 {
			return err
		}
		b = b.Until(end)
		for line := range b.Lines() {
			if len(s.Events) == s.want.limit {
				return nil
			}
			s.Last++
			s.Events = s.appendIf(s.Events, line)
		}
	}
	return nil
}

// matchesAll tells whether every event is asked for.
func (f *filter) matchesAll() bool {
	return len(f.types) == 0 && f.subject+f.source+f.id+f.family+f.since+f.until == "" && len(f.text) == 0
}

// backwards looks from before on, in pieces that grow, as the log is read
// forwards.
func (s *search) backwards() error {
	s.Last = min(s.End, s.want.before-1)
	s.First = s.Last + 1
	window := event.Sequence(smallWindow)
	if s.want.matchesAll() {
		window = event.Sequence(s.want.limit)
	}
	for s.First-1 > s.want.after && !s.over() {
		from := s.want.after
		if s.First-1-from > window {
			from = s.First - 1 - window
		}
		piece, err := s.piece(from, s.First-1)
		if err != nil {
			return err
		}
		slices.Reverse(piece)
		if room := s.want.limit - len(s.Events); len(piece) > room {
			piece = piece[:room]
			from = piece[room-1].Sequence - 1
		}
		s.Events = append(s.Events, piece...)
		s.First = from + 1
		window = min(2*window, largeWindow)
	}
	return nil
}

// piece returns what is asked for after one event, up to another.
func (s *search) piece(after, last event.Sequence) (events []found, err error) {
	reader := s.log.Reader(after)
	defer reader.Close()
	reader.Want(uint64(last - after))
	for at := after; at < last; {
		if err := s.ctx.Err(); err != nil {
			return nil, err
		}
		b, err := reader.Next()
		if err != nil || b.Count == 0 {
			return events, err
		}
		b = b.Until(last)
		at = b.Last()
		for line := range b.Lines() {
			events = s.appendIf(events, line)
		}
	}
	return events, nil
}

// appendIf appends the event of a line if it is asked for.
func (s *search) appendIf(events []found, text []byte) []found {
	line, ok := event.ReadLine(text)
	if !ok || !s.want.takes(line) {
		return events
	}
	f := found{
		Sequence: line.Sequence(), ID: string(line.ID()), Type: string(line.Type()), Source: string(line.Source()),
		Subject: string(line.Subject()), Time: string(line.Time()), Size: len(text),
	}
	if e, err := line.Event(); err == nil {
		f.Status, f.Preview = summary(e.Data)
	}
	return append(events, f)
}

// summary returns the status that an event's data has, and the beginning of its
// text, or else of the data itself.
func summary(data []byte) (status, text string) {
	var said struct {
		Title   any `json:"title"`
		Content any `json:"content"`
		Status  any `json:"status"`
	}
	text = string(data)
	if json.Unmarshal(data, &said) == nil {
		status, _ = said.Status.(string)
		for _, value := range []any{said.Title, said.Content} {
			if written, ok := value.(string); ok {
				text = written
				break
			}
		}
	}
	return first(status, mostStatus), first(text, previewBytes)
}

// first returns at most so many bytes of a text, and no part of a character.
func first(text string, most int) string {
	return strings.ToValidUTF8(text[:min(len(text), most)], "")
}
