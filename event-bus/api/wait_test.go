package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"miniblog/internal/event"
)

func TestWaitEndsWhenSomethingComes(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	b.fill("A", 1)
	for form, header := range forms {
		if strings.HasPrefix(form, "a stream") {
			continue
		}
		t.Run(form, func(t *testing.T) {
			last := b.newest().Sequence
			after, _ := event.ParseSequence(last)
			type result struct {
				r   reply
				err error
			}
			waiting := make(chan result, 2)
			for _, query := range []string{"", "&type=A,Wanted&limit=1"} {
				go func() {
					r, err := b.try("GET", "/events?wait=20s&after="+last+query, strings.NewReader(""), header...)
					waiting <- result{r, err}
				}()
			}
			b.fill("Unwanted", 1)
			first := <-waiting
			if first.err != nil {
				t.Fatal(first.err)
			}
			wantRanks(t, first.r.ranks(t), after+1)
			b.fill("Wanted", 2)
			second := <-waiting
			if second.err != nil {
				t.Fatal(second.err)
			}
			wantRanks(t, second.r.ranks(t), after+2)
			if last := second.r.header.Get("Event-Sequence-Last"); last < (after + 2).String() {
				t.Errorf("the last sequence is said to be %s", last)
			}
		})
	}
	t.Run("or when the time is over", func(t *testing.T) {
		start := time.Now()
		last := b.newest().Sequence
		wantRanks(t, b.send("GET", "/events?wait=50ms&after="+last, "").ranks(t))
		if time.Since(start) < 50*time.Millisecond {
			t.Error("it did not wait")
		}
	})
	t.Run("at once for a reader of another log", func(t *testing.T) {
		r := b.send("GET", "/events?wait=60s&after=1000000", "", forms["lines, zstd"]...) // the client would give up before
		wantRanks(t, r.ranks(t))
		if r.header.Get("Event-Sequence-Last") >= "00000000000001000000" {
			t.Errorf("the log is said to end at %s", r.header.Get("Event-Sequence-Last"))
		}
	})
	t.Run("or when the bus stops", func(t *testing.T) {
		conn, err := net.Dial("tcp", b.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(20 * time.Second))
		fmt.Fprintf(conn, "GET /events?wait=60s&after=%s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", b.newest().Sequence)
		b.stop()
		if answer, _ := io.ReadAll(conn); !strings.HasPrefix(string(answer), "HTTP/1.1 200 ") || !strings.HasSuffix(string(answer), "\r\n\r\n[]\n") {
			t.Errorf("answered %q", answer)
		}
	})
}

// deadlines remembers when the server was told to stop trying to write.
type deadlines struct {
	*httptest.ResponseRecorder
	set []time.Time
}

func (d *deadlines) SetWriteDeadline(at time.Time) error { d.set = append(d.set, at); return nil }

// A wait of half a minute and more used to end in a connection that could not
// be written to any more.
func TestWaitDoesNotUseUpTheTimeForTheAnswer(t *testing.T) {
	t.Parallel()
	log := openLog(t)
	b := New(Config{Log: log, Stopping: t.Context()})
	for form, header := range forms {
		if strings.HasPrefix(form, "a stream") {
			continue
		}
		r := httptest.NewRequest("GET", "/events?wait=30ms", nil)
		for i := 0; i < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		w := &deadlines{ResponseRecorder: httptest.NewRecorder()}
		if err := b.fetch(w, r); err != nil {
			t.Fatal(err)
		}
		if n := len(w.set); n < 2 || w.set[n-1].Sub(w.set[0]) < 30*time.Millisecond {
			t.Errorf("%s: the deadlines for writing are %v", form, w.set)
		}
	}
}

// A HEAD of a stream used to hold its connection for ever.
func TestHeadIsAnsweredAtOnce(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	b.fill("A", 5)
	for form, header := range forms {
		t.Run(form, func(t *testing.T) {
			r := b.send("HEAD", "/events?wait=60s&after=5", "", header...)
			if r.status != http.StatusOK || r.body != "" || r.header.Get("Event-Sequence-Last") != "00000000000000000005" || r.header.Get("Event-Log") == "" {
				t.Errorf("answered %d %v", r.status, r.header)
			}
			b.send("GET", "/healthz", "").wantJSON(t, http.StatusOK, nil) // on the same connection
		})
	}
}

// The bus used to look for a type to the end of the log when nobody was there
// any more to be answered.
func TestSearchEndsWhenTheReaderLeaves(t *testing.T) {
	t.Parallel()
	log := openLog(t)
	if _, err := log.Append(t.Context(), []event.Line{mustLine(t, `{"type":"T"}`)}); err != nil {
		t.Fatal(err)
	}
	left, leave := context.WithCancel(t.Context())
	leave()
	r := httptest.NewRequestWithContext(left, "GET", "/events?type=Nope", nil)
	if err := New(Config{Log: log, Stopping: t.Context()}).fetch(httptest.NewRecorder(), r); !errors.Is(err, context.Canceled) {
		t.Errorf("the search went on to its end: %v", err)
	}
}
