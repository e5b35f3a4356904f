package bus_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"miniblog/internal/bus"
	"miniblog/internal/bus/bustest"
	"miniblog/internal/event"
)

// collect fetches what comes after a sequence.
func collect(t *testing.T, c *bus.Client, after event.Sequence) (events []event.Event, err error) {
	t.Helper()
	page, err := c.Fetch(t.Context(), bus.Checkpoint{Sequence: after}, 0)
	if err != nil {
		return nil, err
	}
	defer page.Close()
	for slice, err := range page.Events() {
		if err != nil {
			return events, err
		}
		for _, e := range slice {
			e.Data = bytes.Clone(e.Data) // the next slice may take its memory
			events = append(events, e)
		}
	}
	return events, nil
}

func TestLongHistoryArrivesWhole(t *testing.T) {
	b := bustest.New(t)
	var all []event.Event
	for i := range 40_000 {
		all = append(all, newEvent(fmt.Sprint("id", i)))
	}
	long := newEvent("long") // longer than any chunk
	long.Data = jsontext.Value(`"` + strings.Repeat("x", 900_000) + `"`)
	all = append(all, long, newEvent("last"))
	b.Add(all...)
	got, err := collect(t, client(t, b), 0)
	if err != nil || len(got) != len(all) {
		t.Fatalf("%d events, %v", len(got), err)
	}
	for i, e := range got {
		if e.Sequence != event.Sequence(i+1) || e.ID != all[i].ID || !bytes.Equal(e.Data, all[i].Data) {
			t.Fatalf("event %d is %+v", i+1, e)
		}
	}
}

func TestFetchRefusesWhatIsNotTheLog(t *testing.T) {
	lines := func(body []byte) [][]byte { return bytes.SplitAfter(body, []byte("\n")) }
	tests := map[string]struct {
		change func([]byte) []byte
		want   string
		good   int // events before the error
	}{
		"an event is missing": {func(b []byte) []byte { l := lines(b); return bytes.Join(append(l[:1:1], l[2:]...), nil) },
			"sent event 3 where 2 comes next", 0},
		"an event comes twice": {func(b []byte) []byte { l := lines(b); return bytes.Join(append(l[:2:2], l[1:]...), nil) },
			"sent event 2 where 3 comes next", 0},
		"the last line is torn":  {func(b []byte) []byte { return b[:len(b)-10] }, "ends in the middle of event 3", 0},
		"a line is not an event": {func(b []byte) []byte { return append([]byte("[]\n"), b...) }, "does not decode", 0},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b := bustest.New(t)
			b.Add(newEvent("a"), newEvent("b"), newEvent("c"))
			b.Corrupt(test.change)
			got, err := collect(t, client(t, b), 0)
			if err == nil || !strings.Contains(err.Error(), test.want) || len(got) != test.good {
				t.Errorf("%d events, error %v", len(got), err)
			}
		})
	}
}

// TestFetchNoticesAnAnswerThatIsCutOff: what has no end must not count as whole.
func TestFetchNoticesAnAnswerThatIsCutOff(t *testing.T) {
	tests := map[string]struct {
		encoding string
		body     func(whole []byte) []byte
	}{
		"identity":                    {"", func(b []byte) []byte { return b }},
		"zstd, in the middle":         {"zstd", func(b []byte) []byte { return b[:len(b)/2] }},
		"zstd, a bit of it is wrong":  {"zstd", func(b []byte) []byte { b[len(b)-6] ^= 1; return b }},
		"an encoding nobody asked of": {"br", func(b []byte) []byte { return b }},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			real := bustest.New(t)
			for i := range 100 {
				real.Add(newEvent(fmt.Sprint("id", i)))
			}
			cut := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				req, _ := http.NewRequest(http.MethodGet, real.URL+r.URL.String(), nil)
				req.Header = r.Header.Clone()
				if test.encoding != "zstd" {
					req.Header.Set("Accept-Encoding", "identity")
				}
				resp, err := http.DefaultTransport.RoundTrip(req)
				if err != nil {
					panic(err)
				}
				body, _ := io.ReadAll(resp.Body)
				for name, values := range resp.Header {
					w.Header()[name] = values
				}
				w.Header().Del("Content-Length")
				if test.encoding != "" {
					w.Header().Set("Content-Encoding", test.encoding)
				}
				w.Write(test.body(body))
				w.(http.Flusher).Flush()
				if test.encoding == "" {
					panic(http.ErrAbortHandler)
				}
			}))
			defer cut.Close()
			c := bus.New(cut.URL)
			defer c.Close()
			if got, err := collect(t, c, 0); err == nil {
				t.Errorf("%d events and no error", len(got))
			}
		})
	}
}

func TestSimpleBusIsReadAsItIs(t *testing.T) {
	b := bustest.NewSimple(t)
	c := client(t, b)
	for _, body := range []string{`{"type":"PostCreated","data":{"id":"1a2b3c4d","title":"Hi"}}`, `{}`, `{"type":"Other","sequence":"5"}`} {
		resp, err := http.Post(b.URL+"/events", "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
	page, err := c.Fetch(t.Context(), bus.Checkpoint{}, 0)
	if err != nil {
		t.Fatal(err)
	}
	page.Close()
	got, err := collect(t, c, 0)
	if err != nil || page.Log != "" || len(got) != 2 || got[0].Type != event.PostCreated || got[1].Sequence != 0 {
		t.Errorf("log %q, events %+v, %v", page.Log, got, err)
	}
}

func TestWhatIsNotABusIsAnError(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{
		"a page":     func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<html>") },
		"an object":  func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "{}") },
		"not found":  http.NotFound,
		"a bad last": func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Event-Log", "x") },
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(answer)
			defer server.Close()
			c := bus.New(server.URL)
			defer c.Close()
			if _, err := collect(t, c, 0); err == nil {
				t.Error("no error")
			}
		})
	}
}

func TestReaderThatStopsEndsTheFetch(t *testing.T) {
	b := bustest.New(t)
	var all []event.Event
	for i := range 60_000 {
		all = append(all, newEvent(fmt.Sprint("id", i)))
	}
	b.Add(all...)
	page, err := client(t, b).Fetch(t.Context(), bus.Checkpoint{}, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer page.Close()
	for events, err := range page.Events() {
		if err != nil || len(events) == 0 {
			t.Error(len(events), err)
		}
		break // returns only when its decoder has ended
	}
}

func TestWaitEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := client(t, bustest.New(t)).Fetch(ctx, bus.Checkpoint{}, time.Minute); err == nil {
		t.Error("no error")
	}
}

// TestBusThatStallsIsGivenUp: a connection may be dead without anybody having said
// so. One that is only slow is read to its end.
func TestBusThatStallsIsGivenUp(t *testing.T) {
	const short, long = 200 * time.Millisecond, 2 * time.Second
	line := func(n int) string {
		return fmt.Sprintf(`{"specversion":"1.0","sequence":"%020d","id":"a%d","type":"A"}`+"\n", n, n)
	}
	for name, test := range map[string]struct {
		patience time.Duration
		answer   func(rc *http.ResponseController, w io.Writer)
		want     int // events; -1: an error
	}{
		"before its answer": {short, func(*http.ResponseController, io.Writer) { time.Sleep(5 * short) }, -1},
		"within its answer": {short, func(rc *http.ResponseController, w io.Writer) {
			io.WriteString(w, line(1)+line(2)[:20])
			rc.Flush()
			time.Sleep(5 * short)
			io.WriteString(w, line(2)[20:])
		}, -1},
		"never, but slow": {long, func(rc *http.ResponseController, w io.Writer) {
			for n := range 5 {
				io.WriteString(w, line(n+1))
				rc.Flush()
				time.Sleep(long / 4)
			}
		}, 5},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Event-Log", "log")
				w.Header().Set("Event-Sequence-Last", "10")
				test.answer(http.NewResponseController(w), w)
			}))
			defer server.Close()
			c := bus.New(server.URL)
			defer c.Close()
			bus.SetPatience(c, test.patience)
			got, err := collect(t, c, 0)
			if test.want < 0 && err == nil || test.want >= 0 && (err != nil || len(got) != test.want) {
				t.Errorf("%d events, error %v", len(got), err)
			}
		})
	}
}
