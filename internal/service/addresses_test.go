package service

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"miniblog/internal/web"
)

// A page of another site whose name is pointed at 127.0.0.1 could read and
// write the blog on a laptop: its requests are of the same origin, then.
func TestOtherNamesAreRefusedOnALoopbackAddress(t *testing.T) {
	t.Parallel()
	routes := map[string]web.Handler{"GET /posts": ok, "POST /posts": ok}
	for _, test := range []struct {
		variables []string
		host      string
		status    int
	}{
		{nil, "localhost", 200},
		{nil, "localhost:4000", 200},
		{nil, "LOCALHOST.:80", 200},
		{nil, "127.0.0.1:4000", 200},
		{nil, "[::1]:4000", 200},
		{nil, "[::1]", 200},
		{nil, "evil.example", 421},
		{nil, "evil.example:4000", 421},
		{nil, "localhost.evil.example", 421},
		{nil, "127.0.0.1.evil.example", 421},
		{nil, "posts.com", 421},
		{[]string{"ALLOWED_HOSTS", "posts.com, query-srv"}, "posts.com", 200},
		{[]string{"ALLOWED_HOSTS", "posts.com, query-srv"}, "query-srv:4002", 200},
		{[]string{"ALLOWED_HOSTS", "posts.com, query-srv"}, "localhost", 200},
		{[]string{"ALLOWED_HOSTS", "posts.com, query-srv"}, "evil.example", 421},
		{[]string{"ADDR", ":0"}, "anything.example", 200},
		{[]string{"ADDR", ":0", "ALLOWED_HOSTS", "posts.com"}, "posts.com", 200},
		{[]string{"ADDR", ":0", "ALLOWED_HOSTS", "posts.com"}, "localhost", 421},
	} {
		t.Run(fmt.Sprint(test.variables, test.host), func(t *testing.T) {
			s := startWith(t, func(context.Context, *Env) (*Service, error) { return &Service{Routes: routes}, nil }, test.variables...)
			for _, method := range []string{"GET", "POST"} {
				response, body := send(t, s.dial(), method+" /posts HTTP/1.1\r\nHost: "+test.host+"\r\nOrigin: http://"+test.host+"\r\nContent-Length: 0\r\n\r\n")
				if response.StatusCode != test.status {
					t.Errorf("%s: answered %s", method, response.Status)
				}
				if test.status == 421 && !strings.Contains(problemIn(t, response, body).Detail, "ALLOWED_HOSTS") {
					t.Errorf("the problem does not say what to do: %s", body)
				}
			}
		})
	}
}

// Metrics, health and profiles were public through the ingress and a NodePort.
func TestAdminAddressHasItsRoutesForItself(t *testing.T) {
	t.Parallel()
	free, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	admin := free.Addr().String()
	free.Close()
	s := startWith(t, func(context.Context, *Env) (*Service, error) {
		return &Service{Routes: map[string]web.Handler{"GET /posts": ok}}, nil
	}, "ADMIN_ADDR", admin)
	for _, path := range []string{"/healthz", "/readyz", "/metrics", "/debug/pprof/", "/debug/pprof/goroutine"} {
		if response, _ := s.get(path); response.StatusCode != http.StatusNotFound {
			t.Errorf("%s is public: %s", path, response.Status)
		}
		response, err := s.client.Get("http://" + admin + path)
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, response.Body)
		response.Body.Close()
		if response.StatusCode != http.StatusOK {
			t.Errorf("%s at ADMIN_ADDR: %s", path, response.Status)
		}
	}
	response, err := s.client.Get("http://" + admin + "/posts")
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusNotFound {
		t.Errorf("/posts at ADMIN_ADDR: %s", response.Status)
	}
	if err := askReady(t.Context(), admin); err != nil {
		t.Errorf("asked at ADMIN_ADDR whether it is ready: %v", err)
	}
}

func TestProfilesAreForThisMachineAlone(t *testing.T) {
	t.Parallel()
	for addr, status := range map[string]int{"localhost:0": http.StatusOK, ":0": http.StatusNotFound} {
		s := startWith(t, func(context.Context, *Env) (*Service, error) { return &Service{}, nil }, "ADDR", addr)
		if response, _ := s.get("/debug/pprof/"); response.StatusCode != status {
			t.Errorf("ADDR=%s: profiles answer %s", addr, response.Status)
		}
	}
}

func TestHealthFailsWhereOnlyARestartHelps(t *testing.T) {
	t.Parallel()
	var stuck atomic.Bool
	s := start(t, func(context.Context, *Env) (*Service, error) {
		return &Service{Alive: func() error {
			if stuck.Load() {
				return errors.New("the log takes no more events")
			}
			return nil
		}}, nil
	})
	if response, _ := s.get("/healthz"); response.StatusCode != http.StatusOK {
		t.Errorf("before: %s", response.Status)
	}
	stuck.Store(true)
	response, body := s.get("/healthz")
	if response.StatusCode != http.StatusServiceUnavailable || !strings.Contains(body, "takes no more events") {
		t.Errorf("afterwards: %s %s", response.Status, body)
	}
}
