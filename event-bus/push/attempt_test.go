package push

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
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
		"a redirect":               {handle(func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/elsewhere", http.StatusFound) }), rejected, ""},
		"not HTTP":                 {raw("SSH-2.0-OpenSSH\r\n"), cut, "malformed HTTP"},
		"nothing":                  {raw(""), cut, "EOF"},
		"a reset":                  {handle(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }), cut, "EOF"},
		"silence":                  {handle(func(_ http.ResponseWriter, r *http.Request) { io.ReadAll(r.Body); <-r.Context().Done() }), silent, "no answer within 300ms"},
		"no listener":              {raw(""), unreachable, "connection refused"},
		"no such host":             {at("http://subscriber.invalid/events"), unreachable, "subscriber.invalid"},
		"no such port":             {at("http://127.0.0.1:99999/"), unreachable, "invalid port"},
		"no URL":                   {at("http://a b/"), unreachable, "invalid character"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var url string
			if name == "no listener" {
				t.Run("gone", func(t *testing.T) { url = test.start(t) }) // closes it
			} else {
				url = test.start(t)
			}
			client := newClient()
			defer client.CloseIdleConnections()
			o := attempt(t.Context(), client, url, &delivery{id: "x", line: []byte(`{"type":"T"}`)}, 300*time.Millisecond)
			if o.verdict != test.verdict || !strings.Contains(o.answer, test.answer) || len(o.answer) > answerBytes+3 {
				t.Errorf("it came to %s (%d), status %d, %q", outcomes[o.verdict], o.verdict, o.status, o.answer)
			}
		})
	}
	t.Run("a stop", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		url := handle(func(_ http.ResponseWriter, r *http.Request) { io.ReadAll(r.Body); cancel(); <-r.Context().Done() })(t)
		client := newClient()
		defer client.CloseIdleConnections()
		if o := attempt(ctx, client, url, &delivery{}, time.Minute); o.verdict == delivered {
			t.Errorf("it came to %v", o)
		}
	})
}

type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}
