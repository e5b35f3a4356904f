package api

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"miniblog/event-bus/activity"
	"miniblog/event-bus/eventlog"
	"miniblog/internal/event"
	"miniblog/internal/web"
	"miniblog/internal/wire"
)

// wanted is what a fetch asks for.
type wanted struct {
	after   event.Sequence
	afterID string // of the event at after, as the reader knows it; empty: unknown
	limit   uint64
	types   map[string]bool // empty: all
	wait    time.Duration
	follow  time.Duration // how often to say how far the answer is; 0: it does not stay open
}

func parseWanted(text string) (want wanted, err error) {
	v, err := url.ParseQuery(text)
	if err != nil { // what cannot be read must not be taken for "everything"
		return want, web.NewProblem(http.StatusBadRequest, "The query cannot be read: %.100v.", err)
	}
	if text := v.Get(wire.After); text != "" {
		if want.after, err = event.ParseSequence(text); err != nil {
			return want, web.Invalid("after", "The parameter after=%v.", err)
		}
	}
	want.afterID = v.Get(wire.AfterID)
	want.limit = math.MaxUint64
	if text := v.Get(wire.Limit); text != "" {
		if want.limit, err = strconv.ParseUint(text, 10, 63); err != nil || want.limit == 0 {
			return want, web.Invalid("limit", "The limit must be a whole number from 1 up.")
		}
	}
	if text := v.Get(wire.Wait); text != "" {
		if want.wait, err = time.ParseDuration(text); err != nil || want.wait < 0 || want.wait > wire.MaxWait {
			return want, web.Invalid("wait", "The wait must be a duration from 0s to 60s, such as 30s.")
		}
	}
	if text := v.Get(wire.Follow); text != "" {
		if want.follow, err = time.ParseDuration(text); err != nil || want.follow < wire.MinFollow || want.follow > wire.MaxWait {
			return want, web.Invalid("follow", "The follow must be a duration from 10ms to 60s, such as 1s.")
		}
		if v.Has(wire.Limit) {
			return want, web.Invalid("limit", "There is no limit to an answer that stays open: leave out limit or follow.")
		}
	}
	for t := range strings.SplitSeq(v.Get(wire.Types), ",") {
		if t != "" {
			if want.types == nil {
				want.types = map[string]bool{}
			}
			want.types[t] = true
		}
	}
	return want, nil
}

// fetch answers with the events that are asked for, in the form that is
// accepted: an array, a line an event, or a stream that goes on.
func (a *API) fetch(w http.ResponseWriter, r *http.Request) error {
	want, err := parseWanted(r.URL.RawQuery)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(a.stopping, cancel)() // a wait must not hold up a stop
	f := &fetch{log: a.log, reader: r.Context(), header: w.Header(), out: web.NewStream(w), want: want, encoding: acceptedEncoding(r)}
	f.header.Set(wire.LogHeader, a.log.ID())
	f.header.Set("Cache-Control", "no-cache")
	f.header.Add("Vary", "Accept, Accept-Encoding")
	accept := r.Header.Get("Accept")
	if r.Method == http.MethodGet && (want.wait > 0 || want.follow > 0 || strings.Contains(accept, wire.Stream)) {
		f.visit = a.activity.Visited(r, want.after)
		defer f.visit.End()
	}
	switch {
	case r.Method == http.MethodHead: // nothing to read, nothing to wait for
		f.begin(a.log.Last())
		return nil
	case strings.Contains(accept, wire.Stream):
		if id := r.Header.Get("Last-Event-ID"); id != "" {
			if f.want.after, err = event.ParseSequence(id); err != nil {
				return web.Invalid("Last-Event-ID", "The header Last-Event-ID: %v.", err)
			}
		}
		if err := f.checkHistory(true); err != nil {
			return err
		}
		return f.sendStream(ctx)
	}
	if err := f.checkHistory(want.afterID != "" || want.follow > 0); err != nil {
		return err
	}
	switch lines := strings.Contains(accept, wire.Lines); {
	case want.follow > 0:
		return f.follow(ctx, a.tail)
	case lines && f.encoding == "zstd" && len(want.types) == 0:
		return f.sendStored(ctx)
	case lines:
		return f.sendLines(ctx)
	}
	return f.sendArray(ctx)
}

// fetch is one answer to GET /events. It has four ways: what is on disk is sent
// as it is (stored.go), decoded lines are sent in another form (decoded.go) or as
// server-sent events (serversent.go), or the reader follows what is new
// (follow.go).
type fetch struct {
	log      Log
	reader   context.Context // ends when the reader leaves
	header   http.Header
	out      *web.Stream
	want     wanted
	encoding string
	visit    *activity.Visit // of a reader who waits for what comes, else nil
}

// sent tells how far the answer went, if that is further than the reader was.
func (f *fetch) sent(last event.Sequence) {
	if last > f.want.after {
		f.visit.Sent(last)
	}
}

// begin says where the log ends; what is sent ends there at most. It gives the
// answer its full time, also one without a body.
func (f *fetch) begin(last event.Sequence) {
	f.header.Set(wire.LastHeader, last.String())
	f.out.Extend()
}

// checkHistory compares what the reader says that it knows with the log. refuse
// says whether a reader who is beyond the end is refused; else there is nothing
// to wait for, and the header wire.LastHeader tells why.
func (f *fetch) checkHistory(refuse bool) error {
	if f.want.after > f.log.Last() {
		end, err := f.log.End(f.reader) // a copy may not have it yet
		if err != nil {
			return refused(err)
		}
		if f.want.after > end {
			if refuse {
				return otherHistory("The log ends at event %d, before event %d.", end, f.want.after)
			}
			f.want.wait = 0
			return nil
		}
	}
	if f.want.after == 0 || f.want.afterID == "" {
		return nil
	}
	id, err := f.idAt(f.want.after)
	if err == nil && id != f.want.afterID {
		err = otherHistory("Event %d of this log is not the event that you know.", f.want.after)
	}
	return err
}

func otherHistory(format string, args ...any) error {
	return web.NewProblem(http.StatusConflict, format+" Yours is another history: start again with after=0.", args...)
}

// idAt returns the id of the event at a sequence, which is durable.
func (f *fetch) idAt(at event.Sequence) (string, error) {
	r := f.log.Reader(at - 1)
	defer f.out.Hold(0)
	defer r.Close()
	r.Want(1)
	r.Reserve = f.reserve
	b, err := r.Next()
	if err != nil {
		return "", err
	}
	text, _, _ := bytes.Cut(b.Text, []byte("\n"))
	line, _ := event.ReadLine(text)
	return string(line.ID()), nil
}

// sliceBytes is how much of an answer is written at once. A reader who stalls
// holds one slice of his own.
const sliceBytes = 64 << 10

// write writes p to w in slices.
func write(w io.Writer, p []byte) error {
	for slice := range slices.Chunk(p, sliceBytes) {
		if _, err := w.Write(slice); err != nil {
			return err
		}
	}
	return nil
}

// reserve waits until the answer may hold that many bytes.
func (f *fetch) reserve(bytes int) error { return f.out.Reserve(f.reader, bytes) }

// advance moves s on. What it decodes the answer holds until the next call; a
// reader who waits holds nothing.
func (f *fetch) advance(s *scan) error {
	s.reader.Reserve = func(bytes int) error {
		if len(s.want.types) > 0 {
			bytes *= 2 // for what is chosen
		}
		return f.reserve(f.encoderBytes() + bytes)
	}
	err := s.advance(f.reader)
	if err != nil || !s.ready() {
		s.close()
		f.out.Hold(0)
		return err
	}
	f.out.Hold(f.encoderBytes() + s.held())
	return nil
}

// cutOff ends an answer that has begun and cannot be finished in a way that its
// reader notices: it must not take a part for the whole.
func cutOff(err error) error {
	if err == nil {
		return nil
	}
	var damage *eventlog.Damage
	if errors.As(err, &damage) {
		slog.Error("the log is damaged: a reader was cut off before what cannot be read", "error", err)
	} else {
		slog.Debug("a reader left", "error", err)
	}
	panic(http.ErrAbortHandler)
}
