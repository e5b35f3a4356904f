package activity

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"miniblog/internal/disk"
	"miniblog/internal/event"
	"miniblog/internal/web"
)

const (
	tick        = 100 * time.Millisecond // between two writes to a reader
	mostPerTick = 250                    // facts; of more than that in a tick the newest are told
	atOnce      = 100                    // facts that become text before others get their turn
	statusEvery = 5 * time.Second        // how often the log says how it is doing
)

// Serve answers with what is remembered and what happens from now on, as
// server-sent events, until the reader leaves or stopping ends. An id is the
// number of a fact: Last-Event-ID resumes.
func (r *Recorder) Serve(stopping context.Context, w http.ResponseWriter, request *http.Request) error {
	ctx, cancel := context.WithCancel(request.Context())
	defer cancel()
	defer context.AfterFunc(stopping, cancel)()
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // nginx must pass it on at once
	if request.Method == http.MethodHead {
		return nil
	}
	out := web.NewStream(w)
	next := r.resume(request.Header.Get("Last-Event-ID"))
	text, told := r.snapshot(), time.Now()
	for {
		if _, err := out.Write(text); err != nil {
			return nil // the reader left, or was too slow
		}
		if text, next = r.take(next); len(text) > 0 {
			continue
		}
		if out.Flush() != nil || !untilTick(ctx) {
			return nil
		}
		text, next = r.skip(next)
		if time.Since(told) >= statusEvery {
			text, told = r.appendStatus(text), time.Now()
		}
	}
}

// untilTick waits for the next tick, which is the same for all readers: they
// take the same facts and share their text. It returns false if ctx has ended.
func untilTick(ctx context.Context) bool {
	now := time.Now()
	timer := time.NewTimer(now.Truncate(tick).Add(tick).Sub(now))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// resume returns the number of the fact after the one with an id, or of the
// first that is remembered.
func (r *Recorder) resume(id string) uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	if boot, number, found := strings.Cut(id, "-"); found && boot == r.boot {
		if n, err := strconv.ParseUint(number, 10, 64); err == nil && n < r.end {
			return n + 1
		}
	}
	return r.firstLocked()
}

// snapshot says how things are: what has not happened lately is not among the
// facts.
func (r *Recorder) snapshot() []byte {
	var all []*followed
	r.mu.Lock()
	for who, f := range r.followers {
		if f.requests > 0 || time.Since(f.seen) <= awayLimit {
			all = append(all, &followed{who, "", f.position, f.sent, f.seen, f.requests, f.types})
		}
	}
	r.mu.Unlock()
	b := r.appendStatus(nil)
	for _, f := range all {
		b = f.appendTo(b, nil)
	}
	return b
}

// skip leaves facts out when there are more than a tick has room for. It returns
// what says how many, and the number of the fact that is next.
func (r *Recorder) skip(next uint64) (text []byte, _ uint64) {
	r.mu.Lock()
	end := r.end
	r.mu.Unlock()
	if end-next <= mostPerTick {
		return nil, next
	}
	return appendLost(nil, end-mostPerTick-next), end - mostPerTick
}

func appendLost(b []byte, facts uint64) []byte {
	return appendMessage(b, "lost", struct {
		Facts uint64 `json:"facts"`
	}{facts})
}

// take returns facts from number next on as text, at most so many, and the
// number that follows; no text if there are none.
func (r *Recorder) take(next uint64) (text []byte, end uint64) {
	r.rendering.Lock()
	defer r.rendering.Unlock()
	var taken [atOnce]remembered
	r.mu.Lock()
	if first := r.firstLocked(); next < first {
		text = appendLost(text, first-next)
		next = first
	}
	n := int(min(atOnce, r.end-next))
	for i := range n {
		taken[i] = r.ring[(next+uint64(i))%Remembered]
	}
	r.mu.Unlock()
	lines := &lines{log: r.log}
	defer lines.close()
	for i, t := range taken[:n] {
		if t.text == nil {
			t.text = r.render(next+uint64(i), t.fact, lines)
		}
		text = append(text, t.text...)
	}
	return text, next + uint64(n)
}

// render makes the text of a fact and keeps it for other readers. The id stands
// before its last message: whoever has that has the whole fact.
func (r *Recorder) render(number uint64, f fact, lines *lines) []byte {
	text := f.appendTo(nil, lines)
	last := 0
	if i := bytes.LastIndex(text, []byte("\n\nevent: ")); i >= 0 {
		last = i + len("\n\n")
	}
	text = slices.Insert(text, last, fmt.Appendf(nil, "id: %s-%d\n", r.boot, number)...)
	r.mu.Lock()
	defer r.mu.Unlock()
	if number >= r.firstLocked() {
		r.ring[number%Remembered].text = text
	}
	return text
}

// appendStatus says how the log is doing.
func (r *Recorder) appendStatus(b []byte) []byte {
	size, segments := r.log.Size()
	free, total := disk.Room(r.dir)
	failure := ""
	if err := r.log.Failure(); err != nil {
		failure = valid(err.Error())
	}
	return appendMessage(b, "log", struct {
		ID       string         `json:"id"`
		Last     event.Sequence `json:"last"`
		Bytes    int64          `json:"bytes"` // on disk
		Segments int            `json:"segments"`
		Free     uint64         `json:"free,omitzero"` // bytes left on the disk, where that is known
		Total    uint64         `json:"total,omitzero"`
		Failure  string         `json:"failure,omitzero"` // why it takes no more events
		At       moment         `json:"at"`
	}{r.log.ID(), r.log.Last(), size, segments, free, total, failure, moment(time.Now())})
}
