package feed

import (
	"context"
	"net/http"
	"strings"
	"time"

	"miniblog/internal/event"
	"miniblog/internal/trace"
	"miniblog/internal/web"
)

const (
	keepAlive = 15 * time.Second // how often an idle stream says that it is alive
	lagLimit  = 5 * time.Second  // how long to wait for a sequence that is not here yet
)

// Handler answers requests for the stream until their readers leave or ctx ends.
// Last-Event-ID, or the parameter after, is the id of what the reader knows
// already, or a sequence alone; without it the stream starts with what comes
// next. Where the id is of another log, the reader is told to load again.
// checkpoint returns the sequence up to which everything was published.
func (f *Feed) Handler(ctx context.Context, checkpoint func() event.Sequence) web.Handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		return f.serve(ctx, w, r, checkpoint)
	}
}

func (f *Feed) serve(ctx context.Context, w http.ResponseWriter, r *http.Request, checkpoint func() event.Sequence) error {
	field, text := "Last-Event-ID", r.Header.Get("Last-Event-ID")
	if text == "" {
		field, text = "after", r.URL.Query().Get("after")
	}
	reader := reader{feed: f, checkpoint: checkpoint}
	start := reader.startNow
	if text != "" {
		sequence, log, _ := strings.Cut(text, "@")
		after, err := event.ParseSequence(sequence)
		if err != nil {
			return web.Invalid(field, "The %s cannot be used: %v.", field, err)
		}
		start, reader.after, reader.log = reader.resume, after, log
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(r.Context(), cancel)()
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // nginx must pass it on at once
	if r.Method != http.MethodHead {
		reader.run(ctx, web.NewStream(w), start())
	}
	return nil
}

// reader is one connection.
type reader struct {
	feed       *Feed
	checkpoint func() event.Sequence
	after      event.Sequence // it knows the changes up to here
	log        string         // of after; "" if it has not said
	next       uint64         // number of the change to send next
	resets     int            // of the feed, when the reader began
	spans      []*trace.Span  // of the changes that are being sent
}

var alive = []byte(": alive\n\n")

// sliceBytes bounds what a reader takes from the feed at once. The text of a
// change is shared by all readers; a reader that is slow keeps no more than
// this from being freed.
const sliceBytes = 64 << 10

// run sends text, and then changes until ctx ends or the reader is gone, or so
// slow that changes it has not seen are forgotten.
func (r *reader) run(ctx context.Context, out *web.Stream, text []byte) {
	texts := [][]byte{text}
	defer r.feed.join()()
	tick := time.NewTicker(keepAlive)
	defer tick.Stop()
	lag := time.NewTimer(lagLimit)
	defer lag.Stop()
	for {
		for _, text := range texts {
			if _, err := out.Write(text); err != nil {
				return
			}
		}
		if out.Flush() != nil {
			return
		}
		for _, span := range r.spans {
			span.End(nil)
		}
		r.spans = r.spans[:0]
		var changed <-chan struct{}
		var inTime bool
		if texts, changed, inTime = r.take(texts[:0]); !inTime {
			return
		}
		if len(texts) > 0 {
			continue
		}
		select {
		case <-changed:
		case <-tick.C:
			texts = append(texts, alive)
		case <-lag.C:
			if r.checkpoint() < r.after { // of another log, or too far ahead to wait for
				texts = append(texts, r.startOver())
			}
		case <-ctx.Done():
			return
		}
	}
}

// join counts a reader until it leaves.
func (f *Feed) join() (leave func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.readers++
	readersMetric.Inc()
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.readers--
		readersMetric.Dec()
	}
}

// startNow begins with the next change.
func (r *reader) startNow() []byte {
	r.feed.mu.Lock()
	defer r.feed.mu.Unlock()
	r.next, r.resets = r.feed.end, r.feed.resets
	return alive
}

// resume begins after the last change that the reader knows, or makes it load
// again if changes since then are forgotten.
func (r *reader) resume() []byte {
	r.feed.mu.Lock()
	defer r.feed.mu.Unlock()
	if r.after < r.feed.floor || r.ofAnotherLogLocked() {
		return r.startOverLocked()
	}
	r.next, r.resets = r.feed.end, r.feed.resets
	// Those without a sequence say what is, so sending one again does no harm.
	for first := r.feed.firstLocked(); r.next > first; r.next-- {
		if s := r.feed.recent[r.next-1-first].sequence; s > 0 && s <= r.after {
			break
		}
	}
	return alive
}

// ofAnotherLogLocked tells whether what the reader knows is of another log than
// the feed's, which may become known only later.
func (r *reader) ofAnotherLogLocked() bool {
	return r.log != "" && r.feed.log != "" && r.log != r.feed.log
}

func (r *reader) startOver() []byte {
	r.feed.mu.Lock()
	defer r.feed.mu.Unlock()
	return r.startOverLocked()
}

// startOverLocked tells the reader to load again; what comes from now on is
// sent. Its id is the checkpoint, so that coming back once more goes well.
func (r *reader) startOverLocked() []byte {
	r.next, r.resets, r.after, r.log = r.feed.end, r.feed.resets, 0, ""
	return newChange(r.checkpoint(), r.feed.log, "reset", struct{}{}).text
}

// take appends to texts what there is to send, sliceBytes of it at most, and
// returns what to wait for if that is nothing. inTime is false if changes were
// forgotten before the reader took them: it has to come back, and resumes or
// loads again.
func (r *reader) take(texts [][]byte) (_ [][]byte, changed <-chan struct{}, inTime bool) {
	r.feed.mu.Lock()
	defer r.feed.mu.Unlock()
	if r.resets != r.feed.resets || r.ofAnotherLogLocked() {
		return append(texts, r.startOverLocked()), nil, true
	}
	first := r.feed.firstLocked()
	if r.next < first {
		return nil, nil, false
	}
	for size := 0; r.next < r.feed.end; r.next++ {
		c := &r.feed.recent[r.next-first]
		if c.sequence > 0 && c.sequence <= r.after {
			continue
		}
		if size += len(c.text); size > sliceBytes && len(texts) > 0 {
			break
		}
		texts = append(texts, c.text)
		if c.span != nil {
			r.spans = append(r.spans, c.span)
		}
	}
	return texts, r.feed.changed, true
}
