package push

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"miniblog/event-bus/eventlog"
	"miniblog/internal/event"
	"miniblog/internal/wire"
	"miniblog/test/wait"
)

// replying answers each event with a body of a type.
func replying(mediaType, body string) func(http.ResponseWriter, *http.Request, event.Event) {
	return func(w http.ResponseWriter, _ *http.Request, _ event.Event) {
		w.Header().Set("Content-Type", mediaType)
		io.WriteString(w, body)
	}
}

// published is a Config.Publish that keeps what it is given.
type published struct {
	mu      sync.Mutex
	replies []Reply
	err     func(n int) error // of the nth
}

func (p *published) publish(_ context.Context, r Reply) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.replies = append(p.replies, r)
	if p.err != nil {
		return p.err(len(p.replies))
	}
	return nil
}

func (p *published) bodies() (list []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range p.replies {
		list = append(list, r.MediaType+" "+string(r.Body))
	}
	return list
}

func TestReplyIsPublishedBeforeTheCursorMoves(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		contentType, body, want string
	}{
		"one event":                    {"application/cloudevents+json", `{"type":"R"}`, `application/cloudevents+json {"type":"R"}`},
		"one event, with a parameter":  {"Application/CloudEvents+JSON; charset=utf-8", `{"type":"R"}`, `application/cloudevents+json {"type":"R"}`},
		"a batch":                      {"application/cloudevents-batch+json", `[{"type":"R"}]`, `application/cloudevents-batch+json [{"type":"R"}]`},
		"a large batch":                {"application/cloudevents-batch+json", strings.Repeat(" ", wire.MaxBatch), "application/cloudevents-batch+json " + strings.Repeat(" ", wire.MaxBatch)},
		"not an event":                 {"application/json", `{"type":"R"}`, ""},
		"an empty body is not a reply": {"application/cloudevents+json", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			log := openLog(t, t.TempDir())
			r := receive(t, replying(test.contentType, test.body))
			storing, stored := make(chan struct{}, 1), make(chan struct{})
			var kept published
			publishSlowly := func(ctx context.Context, r Reply) error {
				storing <- struct{}{}
				<-stored
				return kept.publish(ctx, r)
			}
			sub := r.subscriber("all")
			sub.Replies = []string{"R"}
			publish(t, log, "a")
			p := runWith(t, Config{Log: log, Dir: t.TempDir(), Publish: publishSlowly}, sub)
			if test.want != "" {
				<-storing
				if s := p.status("all"); s.Cursor != 0 {
					t.Error("the cursor has passed an event whose reply is not stored yet")
				}
			}
			close(stored)
			p.wantCursor("all", 1)
			if got := strings.Join(kept.bodies(), "; "); got != test.want {
				t.Errorf("published was %.200q, want %.200q", got, test.want)
			}
			if test.want != "" && !slices.Equal(kept.replies[0].Types, []string{"R"}) {
				t.Errorf("it may be of the types %q", kept.replies[0].Types)
			}
		})
	}
}

func TestPushSaysThatItTakesReplies(t *testing.T) {
	t.Parallel()
	log := openLog(t, t.TempDir())
	accepts := make(chan string, 1)
	r := receive(t, func(_ http.ResponseWriter, request *http.Request, _ event.Event) {
		accepts <- request.Header.Get("Accept")
	})
	sub := r.subscriber("replies")
	publish(t, log, "a")
	for _, test := range []struct {
		replies []string
		want    string
	}{{[]string{"R"}, "application/cloudevents+json, application/cloudevents-batch+json"}, {nil, ""}} {
		sub.Replies = test.replies
		p := runWith(t, Config{Log: log, Dir: t.TempDir(), Publish: new(published).publish}, sub)
		if got := <-accepts; got != test.want {
			t.Errorf("with the replies %q it accepts %q, want %q", test.replies, got, test.want)
		}
		p.stop()
	}
}

func TestReplyThatCanBeNoEventIsADeadLetter(t *testing.T) {
	t.Parallel()
	refuse := func(int) error { return BadReply("this is why") }
	for name, test := range map[string]struct {
		answer func(http.ResponseWriter, *http.Request, event.Event)
		err    func(int) error
		want   string
	}{
		"it is refused":     {replying(wire.Event, "?"), refuse, "its reply cannot be stored: this is why"},
		"it is too large":   {replying(wire.Event, strings.Repeat(" ", wire.MaxEvent+1)), nil, "it has more than 1048576 bytes"},
		"and so is a batch": {replying(wire.Batch, strings.Repeat(" ", wire.MaxBatch+1)), nil, "it has more than 16777216 bytes"},
		"and says how large": {func(w http.ResponseWriter, _ *http.Request, _ event.Event) {
			w.Header().Set("Content-Type", wire.Event)
			w.Header().Set("Content-Length", fmt.Sprint(wire.MaxEvent+1))
			w.Write(bytes.Repeat([]byte(" "), wire.MaxEvent+1))
		}, nil, "it has more than 1048576 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			log := openLog(t, t.TempDir())
			r := receive(t, test.answer)
			sub := r.subscriber("all")
			sub.Replies = []string{"R"}
			publish(t, log, "a", "a")
			kept := published{err: test.err}
			p := runWith(t, Config{Log: log, Dir: t.TempDir(), Publish: kept.publish}, sub)
			s := p.wantCursor("all", 2)
			if s.DeadLetterCount != 2 || s.State != "up" || s.DeadLetters[0].Status != 200 || s.DeadLetters[0].Attempts != 1 || !strings.Contains(s.DeadLetters[0].Answer, test.want) {
				t.Errorf("the subscriber is %+v", s)
			}
			if n := len(r.arrivals()); n != 2 {
				t.Errorf("%d attempts of 2 events", n)
			}
		})
	}
}

// The bus is at fault then, neither the event nor the subscriber.
func TestReplyThatTheLogCannotTakeWaitsAndCostsNoAttempt(t *testing.T) {
	t.Parallel()
	log := openLog(t, t.TempDir())
	r := receive(t, replying(wire.Event, `{"type":"R"}`))
	sub := r.subscriber("all")
	sub.Replies = []string{"R"}
	var room atomic.Bool
	kept := published{err: func(int) error {
		if !room.Load() {
			return eventlog.ErrFull
		}
		return nil
	}}
	last := publish(t, log, "a", "a", "b")
	p := runWith(t, Config{Log: log, Dir: t.TempDir(), Publish: kept.publish, Attempts: 1}, sub) // one attempt that counts makes a dead letter
	wait.Nil(t, "some attempts", func() error {
		if n := len(r.arrivals()); n < 10 {
			return fmt.Errorf("%d", n)
		}
		return nil
	})
	if s := p.status("all"); s.Cursor != 0 || s.State != "up" || s.DeadLetterCount != 0 || !strings.Contains(s.LastError, "its reply could not be stored yet") {
		t.Errorf("the subscriber is %+v", s)
	}
	room.Store(true)
	if s := p.wantCursor("all", last); s.DeadLetterCount != 0 {
		t.Errorf("the subscriber is %+v", s)
	}
	r.wantOneAtATime()
}

// A reply that ends in the middle is no answer: its event is delivered again.
func TestHalfAReplyIsNoReply(t *testing.T) {
	t.Parallel()
	log := openLog(t, t.TempDir())
	var tries atomic.Int32
	r := receive(t, func(w http.ResponseWriter, request *http.Request, _ event.Event) {
		w.Header().Set("Content-Type", wire.Event)
		io.WriteString(w, `{"type":`)
		switch w.(*status).ResponseWriter.(http.Flusher).Flush(); tries.Add(1) {
		case 1:
			panic(http.ErrAbortHandler)
		case 2:
			<-request.Context().Done()
		}
		io.WriteString(w, `"R"}`)
	})
	sub := r.subscriber("all")
	sub.Replies, sub.Timeout = []string{"R"}, Duration(200*time.Millisecond)
	publish(t, log, "a")
	var kept published
	p := runWith(t, Config{Log: log, Dir: t.TempDir(), Publish: kept.publish, Attempts: 1}, sub)
	if s := p.wantCursor("all", 1); s.DeadLetterCount != 0 {
		t.Errorf("the subscriber is %+v", s)
	}
	if got := strings.Join(kept.bodies(), "; "); got != `application/cloudevents+json {"type":"R"}` {
		t.Errorf("published was %q", got)
	}
}

// Whether the bus stops between storing a reply and moving its cursor or not,
// the reply is there once: the second time its id is known.
func TestReplyOfAnEventThatIsDeliveredAgainIsStoredOnce(t *testing.T) {
	t.Parallel()
	log, dir := openLog(t, t.TempDir()), t.TempDir()
	r := receive(t, replying(wire.Event, `{"type":"R"}`))
	sub := r.subscriber("all", "T")
	sub.Replies = []string{"R"}
	store := func(ctx context.Context, _ Reply) error {
		e := event.New("a reply", "/test", "R", "a", nil)
		line, err := event.NewLine(&e)
		if err == nil {
			_, err = log.Append(ctx, []event.Line{line})
		}
		return err
	}
	publish(t, log, "a")
	var crash atomic.Bool
	crash.Store(true)
	p := runWith(t, Config{Log: log, Dir: dir, Publish: func(ctx context.Context, r Reply) error {
		err := store(ctx, r)
		if crash.Load() {
			return errors.Join(err, errors.New("the process ends here"))
		}
		return err
	}}, sub)
	wait.Nil(t, "a reply", func() error {
		if log.Last() != 2 {
			return fmt.Errorf("the log has %d events", log.Last())
		}
		return nil
	})
	p.stop()
	p = runWith(t, Config{Log: log, Dir: dir, Publish: store}, sub)
	p.wantCursor("all", 2)
	if log.Last() != 2 {
		t.Errorf("the log has %d events", log.Last())
	}
}
