// Package servicetest runs a service inside its test, on a free port.
package servicetest

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/go-json-experiment/json"

	"miniblog/internal/service"
	"miniblog/test/wait"
)

// Service is a service that runs.
type Service struct {
	URL  string
	Stop func() // as SIGTERM does; returns when it has stopped

	t testing.TB
}

// Start starts a service with env as its environment. It stops with the test.
func Start(t testing.TB, open service.Open, env map[string]string) *Service {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	listening := make(chan net.Addr, 1)
	done := make(chan error, 1)
	lookup := func(name string) (string, bool) {
		if v, ok := env[name]; ok {
			return v, true
		}
		v, ok := map[string]string{"LOG_LEVEL": "error", "LOG_FORMAT": "text"}[name]
		return v, ok
	}
	go func() {
		done <- service.Run(ctx, "test", "localhost:0", lookup, open, func(a net.Addr) { listening <- a })
	}()
	s := &Service{t: t}
	select {
	case addr := <-listening:
		s.URL = "http://" + addr.String()
	case err := <-done:
		cancel()
		t.Fatalf("the service did not start: %v", err)
	}
	s.Stop = sync.OnceFunc(func() {
		http.DefaultClient.CloseIdleConnections() // a stop gives those a moment
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the service stopped with %v", err)
		}
	})
	t.Cleanup(s.Stop)
	return s
}

// AwaitReady waits until the service is ready.
func (s *Service) AwaitReady() *Service {
	s.t.Helper()
	wait.For(s.t, "being ready", func() bool { return s.Get("/readyz").Status == http.StatusOK })
	return s
}

// Answer is a response that was read.
type Answer struct {
	Status int
	Header http.Header
	Body   string
}

// Get asks for path.
func (s *Service) Get(path string, header ...string) Answer {
	s.t.Helper()
	return s.Do(http.MethodGet, path, "", header...)
}

// Post sends JSON to path.
func (s *Service) Post(path, body string, header ...string) Answer {
	s.t.Helper()
	return s.Do(http.MethodPost, path, body, append([]string{"Content-Type", "application/json"}, header...)...)
}

// Do sends a request; header is names and values in turn.
func (s *Service) Do(method, path, body string, header ...string) Answer {
	s.t.Helper()
	req, err := http.NewRequest(method, s.URL+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return Answer{resp.StatusCode, resp.Header, string(text)}
}

// ExpectProblem checks that an answer is a problem with status and a sentence,
// about field unless that is "".
func ExpectProblem(t testing.TB, a Answer, status int, field string) {
	t.Helper()
	var p struct {
		Status int    `json:"status"`
		Detail string `json:"detail"`
		Field  string `json:"field"`
	}
	err := json.Unmarshal([]byte(a.Body), &p)
	if err != nil || a.Status != status || p.Status != status || p.Field != field || p.Detail == "" || a.Header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("%d %s %.300s, want %d on field %q", a.Status, a.Header.Get("Content-Type"), a.Body, status, field)
	}
	if status == http.StatusMethodNotAllowed && a.Header.Get("Allow") == "" {
		t.Error("405 without Allow")
	}
}
