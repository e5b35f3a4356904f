package service

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// server is the HTTP side of a service: the routes that all have, the
// middleware, and the graceful stop.
type server struct {
	http     http.Server
	ready    func() error
	draining atomic.Bool
	open     atomic.Int64 // connections
}

func newServer(svc *Service, log *slog.Logger) *server {
	s := &server{ready: svc.Ready}
	mux := http.NewServeMux()
	mux.Handle("GET /healthz", Handler(healthz))
	mux.Handle("GET /readyz", Handler(s.readyz))
	mux.Handle("GET /metrics", promhttp.Handler())
	for pattern, handler := range svc.Routes {
		mux.Handle(pattern, handler)
	}
	s.http = http.Server{
		Handler:           chain(mux, s.lastAnswer, allowOrigins(svc.Origins), observe),
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      30 * time.Second, // streams set their own, write by write
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		ConnState: func(_ net.Conn, state http.ConnState) {
			switch state {
			case http.StateNew:
				s.open.Add(1)
			case http.StateClosed, http.StateHijacked:
				s.open.Add(-1)
			}
		},
	}
	return s
}

func healthz(w http.ResponseWriter, _ *http.Request) error {
	return WriteJSON(w, http.StatusOK, map[string]string{"status": "alive"})
}

func (s *server) readyz(w http.ResponseWriter, r *http.Request) error {
	if s.draining.Load() {
		return Unavailable(time.Second, nil, "The service is stopping.")
	}
	if s.ready != nil {
		if err := s.ready(); err != nil {
			WriteProblem(w, NewProblem(http.StatusServiceUnavailable, "Not ready: %v.", err))
			return nil // expected while starting: not worth a line of log
		}
	}
	return WriteJSON(w, http.StatusOK, map[string]string{"status": "ready"})
}

// lastAnswer closes connections after their next answer once the service is
// stopping, so that no client sends a request into a closing connection.
func (s *server) lastAnswer(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.draining.Load() {
			w.Header().Set("Connection", "close")
		}
		next.ServeHTTP(w, r)
	})
}

// serve answers requests until ctx ends, and then stops without cutting off
// one that was accepted: what waits in the listen queue is taken, connections
// get a last answer, and what runs may finish within stopLimit.
func (s *server) serve(ctx context.Context, listener net.Listener) error {
	queue := &drainable{Listener: listener, empty: make(chan struct{})}
	served := make(chan error, 1)
	go func() { served <- s.http.Serve(queue) }()
	select {
	case err := <-served:
		return fmt.Errorf("serving %s: %w", listener.Addr(), err)
	case <-ctx.Done():
	}
	s.draining.Store(true)
	queue.drain()
	s.waitForConnections(lameDuck)
	limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopLimit)
	defer cancel()
	if err := s.http.Shutdown(limit); err != nil {
		s.http.Close()
		return fmt.Errorf("stopping: requests still ran after %v and were cut off: %w", stopLimit, err)
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// waitForConnections returns when every connection has closed after its last
// answer, or after limit: those left are idle.
func (s *server) waitForConnections(limit time.Duration) {
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for s.open.Load() > 0 {
		select {
		case <-deadline.C:
			return
		case <-poll.C:
		}
	}
}

// drainable is a listener that, once told to, hands out the connections that
// the kernel has already completed and then closes: closing it at once would
// reset them.
type drainable struct {
	net.Listener
	draining atomic.Bool
	empty    chan struct{} // closed when the queue has been taken
}

// queueEmpty is how long nothing may come before the queue counts as empty.
const queueEmpty = 20 * time.Millisecond

// Accept implements net.Listener.
func (d *drainable) Accept() (net.Conn, error) {
	conn, err := d.Listener.Accept()
	var timeout net.Error
	if err != nil && d.draining.Load() && errors.As(err, &timeout) && timeout.Timeout() {
		d.Listener.Close()
		close(d.empty)
		return nil, http.ErrServerClosed
	}
	return conn, err
}

// drain makes Accept end and waits until it has.
func (d *drainable) drain() {
	d.draining.Store(true)
	if l, ok := d.Listener.(*net.TCPListener); ok && l.SetDeadline(time.Now().Add(queueEmpty)) == nil {
		<-d.empty
	}
}
