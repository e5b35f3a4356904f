package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"miniblog/event-bus/eventlog"
	"miniblog/internal/event"
	"miniblog/internal/web"
	"miniblog/internal/wire"
)

// query is what a fetch asks for.
type query struct {
	after event.Sequence
	limit uint64
	types map[string]bool // empty: all
	wait  time.Duration
}

func parseQuery(text string) (q query, err error) {
	v, err := url.ParseQuery(text)
	if err != nil { // what cannot be read must not be taken for "everything"
		return q, web.NewProblem(http.StatusBadRequest, "The query cannot be read: %.100v.", err)
	}
	if text := v.Get(wire.After); text != "" {
		if q.after, err = event.ParseSequence(text); err != nil {
			return q, web.Invalid("after", "The parameter after=%v.", err)
		}
	}
	q.limit = math.MaxUint64
	if text := v.Get(wire.Limit); text != "" {
		if q.limit, err = strconv.ParseUint(text, 10, 63); err != nil || q.limit == 0 {
			return q, web.Invalid("limit", "The limit must be a whole number from 1 up.")
		}
	}
	if text := v.Get(wire.Wait); text != "" {
		if q.wait, err = time.ParseDuration(text); err != nil || q.wait < 0 || q.wait > wire.MaxWait {
			return q, web.Invalid("wait", "The wait must be a duration from 0s to 60s, such as 30s.")
		}
	}
	for t := range strings.SplitSeq(v.Get(wire.Types), ",") {
		if t != "" {
			if q.types == nil {
				q.types = map[string]bool{}
			}
			q.types[t] = true
		}
	}
	return q, nil
}

// fetch answers with the events that are asked for, in the form that is
// accepted: an array, a line an event, or a stream that goes on.
func (a *API) fetch(w http.ResponseWriter, r *http.Request) error {
	q, err := parseQuery(r.URL.RawQuery)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(a.stopping, cancel)() // a wait must not hold up a stop
	out := &answer{log: a.log, header: w.Header(), out: web.NewStream(w), query: q, encoding: acceptedEncoding(r)}
	out.header.Set(wire.LogHeader, a.log.ID())
	out.header.Set("Cache-Control", "no-cache")
	out.header.Add("Vary", "Accept, Accept-Encoding")
	accept := r.Header.Get("Accept")
	switch {
	case r.Method == http.MethodHead: // nothing to read, nothing to wait for
		out.header.Set(wire.LastHeader, a.log.Last().String())
		return nil
	case strings.Contains(accept, wire.Stream):
		if id := r.Header.Get("Last-Event-ID"); id != "" {
			if out.query.after, err = event.ParseSequence(id); err != nil {
				return web.Invalid("Last-Event-ID", "The header Last-Event-ID: %v.", err)
			}
		}
		return out.follow(ctx)
	}
	if q.after > a.log.Last() { // this is not the log that the reader knows: they must hear of it now
		out.query.wait = 0
	}
	if strings.Contains(accept, wire.Lines) {
		return out.sendLines(ctx)
	}
	return out.sendArray(ctx)
}

// answer is one fetch on its way out.
type answer struct {
	log      *eventlog.Log
	header   http.Header
	out      *web.Stream
	query    query
	encoding string
}

// begin blocks until there is something to send, query.wait at most, and
// returns what there is.
func (a *answer) begin(ctx context.Context) (*selection, error) {
	s := newSelection(a.log, a.query)
	timeout := time.NewTimer(a.query.wait)
	defer timeout.Stop()
	for {
		if err := s.advance(); err != nil {
			return nil, err
		}
		if s.ready() {
			break
		}
		select {
		case <-a.log.Beyond(s.last):
			s.last = a.log.Last()
			continue
		case <-timeout.C:
		case <-ctx.Done():
		}
		break
	}
	a.header.Set(wire.LastHeader, s.last.String())
	a.out.Extend() // also an answer without a body is a write
	return s, nil
}

// sendLines answers with a line an event. Without a choice of types and with
// zstd accepted these are the log's own bytes.
func (a *answer) sendLines(ctx context.Context) error {
	s, err := a.begin(ctx)
	if err != nil {
		return err
	}
	defer s.close()
	a.header.Set("Content-Type", wire.Lines)
	if a.encoding == "zstd" && len(a.query.types) == 0 {
		return a.sendFrames(s.last)
	}
	body := newBody(a.out, a.header, a.encoding)
	for s.ready() {
		if _, err := body.Write(s.batch.Text); err != nil {
			return cutOff(err)
		}
		if err := s.advance(); err != nil {
			return cutOff(err)
		}
	}
	return cutOff(body.Close())
}

// sendFrames copies the events up to last from the disk to the connection,
// without decoding them.
func (a *answer) sendFrames(last event.Sequence) error {
	limit := a.query.limit
	if last >= a.query.after {
		limit = min(limit, uint64(last-a.query.after))
	}
	frames, err := a.log.Frames(a.query.after, limit)
	if err != nil {
		return err
	}
	defer frames.Close()
	a.header.Set("Content-Encoding", "zstd")
	a.header.Set("Content-Length", strconv.FormatInt(frames.Size, 10)) // without it there is no sendfile
	_, err = frames.WriteTo(a.out)
	return cutOff(err)
}

// sendArray answers with one JSON array, as the course's clients expect.
func (a *answer) sendArray(ctx context.Context) error {
	s, err := a.begin(ctx)
	if err != nil {
		return err
	}
	defer s.close()
	a.header.Set("Content-Type", wire.JSON)
	body := newBody(a.out, a.header, a.encoding)
	var part []byte
	for before := byte('['); s.ready(); before = ',' {
		part = append(append(part[:0], before), s.batch.Text...)
		newlinesToCommas(part)
		if _, err := body.Write(part[:len(part)-1]); err != nil { // the last comma waits for what it parts
			return cutOff(err)
		}
		if err := s.advance(); err != nil {
			return cutOff(err)
		}
	}
	end := "]\n"
	if part == nil {
		end = "[]\n"
	}
	if _, err := body.Write([]byte(end)); err != nil {
		return cutOff(err)
	}
	return cutOff(body.Close())
}

// keepAlive is how often a stream says that it is alive when nothing comes.
const keepAlive = 15 * time.Second

// flushEvery is the least time between two writes of a stream. What comes
// meanwhile goes in one write: with a thousand followers, writes are what costs.
const flushEvery = 20 * time.Millisecond

// follow answers with server-sent events: what is there, and then what comes,
// until the reader leaves, the limit is reached or the service stops.
func (a *answer) follow(ctx context.Context) error {
	a.header.Set("Content-Type", wire.Stream)
	a.header.Set("X-Accel-Buffering", "no") // nginx must pass it on at once
	a.header.Set(wire.LastHeader, a.log.Last().String())
	a.query.wait = keepAlive
	if err := a.out.Flush(); err != nil {
		return cutOff(err)
	}
	var part []byte
	for a.query.limit > 0 && ctx.Err() == nil {
		s, err := a.begin(ctx)
		if err != nil {
			return cutOff(err)
		}
		if !s.ready() {
			part = append(part[:0], ":\n\n"...)
			if _, err := a.out.Write(part); err != nil {
				return cutOff(err)
			}
		}
		for s.ready() {
			if part, err = appendServerSent(part[:0], s.batch); err != nil {
				return cutOff(err)
			}
			if _, err := a.out.Write(part); err != nil {
				return cutOff(err)
			}
			if err := s.advance(); err != nil {
				return cutOff(err)
			}
		}
		if err := a.out.Flush(); err != nil {
			return cutOff(err)
		}
		a.query.after, a.query.limit = s.passed, s.query.limit
		s.close()
		pause(ctx, flushEvery)
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// appendServerSent writes events as the HTML standard has them (section 9.2.5).
func appendServerSent(part []byte, b eventlog.Batch) ([]byte, error) {
	for text := range b.Lines() {
		line, ok := event.ReadLine(text)
		if !ok {
			return part, fmt.Errorf("an event at or after %d is not in the log's own form", b.First)
		}
		part = append(part, "id: "...)
		part = line.Sequence().Append(part)
		part = append(append(append(part, "\ndata: "...), text...), "\n\n"...)
	}
	return part, nil
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

func newlinesToCommas(lines []byte) {
	for {
		i := bytes.IndexByte(lines, '\n')
		if i < 0 {
			return
		}
		lines[i] = ','
		lines = lines[i+1:]
	}
}
