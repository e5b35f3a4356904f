package service

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"miniblog/internal/web"
)

// running is a service that runs, on a port of its own.
type running struct {
	t      testing.TB
	addr   string
	client *http.Client
	kill   context.CancelFunc // what SIGTERM does
	done   chan struct{}      // closed when Run has returned err
	err    error
}

func start(t testing.TB, open Open) *running {
	t.Helper()
	return startWith(t, open)
}

// startWith is start with environment variables, names and values in turn.
func startWith(t testing.TB, open Open, environment ...string) *running {
	t.Helper()
	lookup := variables(append(environment, "LOG_LEVEL", "ERROR+4")...)
	ctx, kill := context.WithCancel(context.Background())
	s := &running{t: t, kill: kill, done: make(chan struct{}), client: &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}}
	listening := make(chan net.Addr, 1)
	go func() {
		s.err = Run(ctx, "test", "localhost:0", lookup, open, func(a net.Addr) { listening <- a })
		close(s.done)
	}()
	select {
	case a := <-listening:
		s.addr = a.String()
	case <-s.done:
		t.Fatalf("the service did not start: %v", s.err)
	}
	t.Cleanup(func() { s.stop() })
	return s
}

// serve starts a service that has these routes and nothing else.
func serve(t testing.TB, routes map[string]web.Handler) *running {
	t.Helper()
	return start(t, func(context.Context, *Env) (*Service, error) { return &Service{Routes: routes}, nil })
}

// variables is an environment, names and values in turn.
func variables(pairs ...string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i] == name {
				return pairs[i+1], true
			}
		}
		return "", false
	}
}

// stop stops the service and returns Run's error.
func (s *running) stop() error {
	s.t.Helper()
	s.kill()
	select {
	case <-s.done:
	case <-time.After(15 * time.Second):
		s.t.Fatal("the service does not stop")
	}
	return s.err
}

// dial opens a connection to the service.
func (s *running) dial() net.Conn {
	s.t.Helper()
	conn, err := net.Dial("tcp", s.addr)
	if err != nil {
		s.t.Fatal(err)
	}
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	s.t.Cleanup(func() { conn.Close() })
	return conn
}

// send writes a request as it stands and reads the answer.
func send(t testing.TB, conn net.Conn, request string) (*http.Response, string) {
	t.Helper()
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatalf("no answer: %v", err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatalf("the answer was cut off: %v", err)
	}
	return response, string(body)
}

func (s *running) get(path string) (*http.Response, string) {
	s.t.Helper()
	response, err := s.client.Get("http://" + s.addr + path)
	if err != nil {
		s.t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		s.t.Fatalf("the answer was cut off: %v", err)
	}
	return response, string(body)
}

func ok(w http.ResponseWriter, _ *http.Request) error {
	return web.WriteJSON(w, http.StatusOK, map[string]string{"status": "OK"})
}
