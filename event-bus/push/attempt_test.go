package push

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"miniblog/test/wait"
)

func TestAttemptComesToWhatTheSubscriberDid(t *testing.T) {
	t.Parallel()
	handle := func(f http.HandlerFunc) func(*testing.T) string {
		return func(t *testing.T) string {
			server := httptest.NewServer(f)
			t.Cleanup(server.Close)
			return server.URL
		}
	}
	// raw answers every connection as it stands, after the request.
	raw := func(answer string) func(*testing.T) string {
		return func(t *testing.T) string {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { l.Close() })
			go func() {
				for {
					conn, err := l.Accept()
					if err != nil {
						return
					}
					conn.Read(make([]byte, 64<<10))
					io.WriteString(conn, answer)
					conn.Close()
				}
			}()
			return "http://" + l.Addr().String()
		}
	}
	at := func(url string) func(*testing.T) string { return func(*testing.T) string { return url } }
	tests := map[string]struct {
		start   func(*testing.T) string // and returns its URL
		verdict verdict
		answer  string
	}{
		"200":                      {handle(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "{}") }), delivered, "{}"},
		"204":                      {handle(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }), delivered, ""},
		"an endless answer":        {handle(func(w http.ResponseWriter, _ *http.Request) { io.Copy(w, endless{}) }), delivered, strings.Repeat("x", answerBytes)},
		"an answer that is cut":    {raw("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"), delivered, "half"},
		"an answer of half a rune": {handle(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(400); io.WriteString(w, "\xc3") }), rejected, "�"},
		"410":                      {handle(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(410) }), gone, ""},
		"429":                      {handle(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(429) }), refused, ""},
		"a redirect":               {handle(func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/elsewhere", http.StatusFound) }), refused, ""},
		"a redirect to no URL":     {handle(func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Location", ":"); w.WriteHeader(302) }), refused, ""},
		"not HTTP":                 {raw("SSH-2.0-OpenSSH\r\n"), cut, "malformed HTTP"},
		"nothing":                  {raw(""), cut, "EOF"},
		"a reset":                  {handle(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }), cut, "EOF"},
		"silence":                  {handle(func(_ http.ResponseWriter, r *http.Request) { io.ReadAll(r.Body); <-r.Context().Done() }), silent, "no answer within 300ms"},
		"no listener":              {raw(""), unreachable, "connection refused"},
		"no such host":             {at("http://subscriber.invalid/events"), unreachable, "subscriber.invalid"},
		"no such port":             {at("http://127.0.0.1:99999/"), unreachable, "invalid port"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var url string
			if name == "no listener" {
				t.Run("gone", func(t *testing.T) { url = test.start(t) }) // closes it
			} else {
				url = test.start(t)
			}
			o := endpointAt(t, url, 300*time.Millisecond).deliver(t.Context(), &delivery{id: "x", line: []byte(`{"type":"T"}`)})
			if o.verdict != test.verdict || !strings.Contains(o.answer, test.answer) || len(o.answer) > answerBytes+3 {
				t.Errorf("it came to %s (%d), status %d, %q", outcomes[o.verdict], o.verdict, o.status, o.answer)
			}
		})
	}
	t.Run("a stop", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		url := handle(func(_ http.ResponseWriter, r *http.Request) { io.ReadAll(r.Body); cancel(); <-r.Context().Done() })(t)
		if o := endpointAt(t, url, time.Minute).deliver(ctx, &delivery{}); o.verdict == delivered {
			t.Errorf("it came to %v", o)
		}
	})
}

func endpointAt(t *testing.T, url string, timeout time.Duration) *endpoint {
	t.Helper()
	e, err := newEndpoint(Subscriber{URL: url, Timeout: Duration(timeout)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.transport.CloseIdleConnections)
	return e
}

func TestRequestIsTheEventsOwn(t *testing.T) {
	t.Parallel()
	type request struct {
		body   string
		header http.Header
	}
	requests := make(chan request, 2)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		requests <- request{string(body), r.Header}
	}))
	t.Cleanup(server.Close)
	e := endpointAt(t, strings.Replace(server.URL, "http://", "http://bus:secret@", 1), time.Minute)
	for _, id := range []string{"first", "second"} {
		if o := e.deliver(t.Context(), &delivery{id: id, line: []byte("the " + id)}); o.verdict != delivered {
			t.Fatalf("it came to %+v", o)
		}
		want := http.Header{
			"Content-Type": {"application/json"}, "User-Agent": {"miniblog-event-bus"}, "Idempotency-Key": {id},
			"Content-Length": {strconv.Itoa(len("the " + id))}, "Authorization": {"Basic YnVzOnNlY3JldA=="},
		}
		if got := <-requests; got.body != "the "+id || !maps.EqualFunc(got.header, want, slices.Equal) {
			t.Errorf("it was %q with %v, want %v", got.body, got.header, want)
		}
	}
}

// A subscriber may close a connection that is kept just as an event is sent on
// it: that is no fault of the event, and it is sent again on a new one.
func TestConnectionThatEndsBetweenEventsCostsNoAttempt(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	bodies := make(chan string, 3)
	go func() {
		for answers := range 2 { // the first connection has one answer, and takes another request
			conn, err := l.Accept()
			if err != nil {
				return
			}
			r := bufio.NewReader(conn)
			for i := range 2 - answers {
				request, err := http.ReadRequest(r)
				if err != nil {
					return
				}
				body, _ := io.ReadAll(request.Body)
				bodies <- string(body)
				if i == 0 {
					io.WriteString(conn, "HTTP/1.1 204 No Content\r\n\r\n")
				}
			}
			conn.Close()
		}
	}()
	e := endpointAt(t, "http://"+l.Addr().String(), time.Minute)
	for _, line := range []string{"1", "2"} {
		if o := e.deliver(t.Context(), &delivery{id: line, line: []byte(line)}); o.verdict != delivered {
			t.Fatalf("event %s came to %+v", line, o)
		}
	}
	for _, want := range []string{"1", "2", "2"} {
		if got := <-bodies; got != want {
			t.Errorf("a request had %q, want %q", got, want)
		}
	}
}

func TestURLThatIsNoneStopsTheStart(t *testing.T) {
	t.Parallel()
	_, err := New(Config{Log: openLog(t, t.TempDir()), Dir: t.TempDir(), Logger: quiet}, []Subscriber{{Name: "all", URL: "http://a b/"}})
	if err == nil || !strings.Contains(err.Error(), "subscriber all") || !strings.Contains(err.Error(), "invalid character") {
		t.Errorf("the error is %v", err)
	}
}

// A wrong URL was shown as it was given, with its password.
func TestPasswordOfASubscriberIsNeverShown(t *testing.T) {
	t.Parallel()
	for _, url := range []string{
		"http://bus:hunter2@localhost:1/events", "http://bus:hunter2@", "http://bus:hunter2@a b/", "http://bus:hunter2@localhost:x", "bus:hunter2@localhost/events", "http://bus:hunter2%zz@localhost",
		"ftp://bus:hunter2@localhost", "//bus:hunter2@localhost", "http://:hunter2@localhost\n",
	} {
		var logged bytes.Buffer
		config := Config{Log: openLog(t, t.TempDir()), Dir: t.TempDir(), Logger: slog.New(slog.NewTextHandler(&logged, &slog.HandlerOptions{Level: slog.LevelDebug}))}
		text, err := json.Marshal([]Subscriber{{Name: "all", URL: url}})
		if err != nil {
			t.Fatal(err)
		}
		said := ""
		if _, err := Parse(text); err != nil {
			said += err.Error()
		}
		p, err := New(config, []Subscriber{{Name: "all", URL: url}})
		if err != nil {
			said += err.Error()
		} else {
			publish(t, config.Log, "a")
			ctx, cancel := context.WithCancel(t.Context())
			go p.Run(ctx)
			wait.Nil(t, "an attempt that failed", func() error {
				list, err := p.List(ctx)
				if err == nil && list[0].LastError == "" {
					err = errors.New("none yet")
				}
				attempts, failed := p.Attempts(ctx, "all")
				said += fmt.Sprintf("%+v %+v", list, attempts)
				return errors.Join(err, failed)
			})
			cancel()
			<-p.stopped
		}
		if said += logged.String(); strings.Contains(said, "hunter2") || !strings.Contains(said, "xxxxx@") {
			t.Errorf("of %s is said: %s", url, said)
		}
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}
