package service

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"miniblog/internal/trace"
	"miniblog/internal/web"
)

// server is the HTTP side of a service: the middleware, the routes that all
// services have, and the graceful stop.
type server struct {
	http     http.Server
	admin    http.Server
	log      *slog.Logger
	service  *Service
	draining atomic.Bool
	open     atomic.Int64 // connections
	silent   sync.Map     // those of them, net.Conn, that have not sent a request yet
}

func newServer(svc *Service, addrs addresses, log *slog.Logger) *server {
	s := &server{service: svc, log: log}
	public, admin := http.NewServeMux(), http.NewServeMux()
	own := make(map[string]http.Handler, len(svc.Routes))
	for pattern, handler := range svc.Routes {
		own[pattern] = trace.Route(pattern, handler)
	}
	routes := addRoutes(public, own)
	if addrs.admin == "" {
		routes = append(routes, addRoutes(public, s.adminRoutes(isLoopback(addrs.public)))...)
	} else {
		routes = append(routes, addRoutes(admin, s.adminRoutes(true))...)
	}
	log.Debug("routes", "patterns", routes)
	s.http = s.newHTTP(web.Chain(public, s.lastAnswer, web.AllowHosts(addrs.hosts), web.AllowOrigins(svc.Origins), web.Observe))
	s.http.ConnState = s.track
	s.admin = s.newHTTP(web.Chain(admin, web.Observe))
	return s
}

// addRoutes adds routes to mux and returns their patterns.
func addRoutes(mux *http.ServeMux, routes map[string]http.Handler) []string {
	for pattern, handler := range routes {
		mux.Handle(pattern, handler)
	}
	return slices.Sorted(maps.Keys(routes))
}

// newHTTP returns a server with the limits that every server has.
func (s *server) newHTTP(h http.Handler) http.Server {
	return http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      30 * time.Second, // streams set their own, write by write
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ConnContext:       boundSending,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
}

// sendBuffer is what the kernel may keep for a reader, in bytes; Linux takes twice as
// much, its own needs included. By itself it keeps up to 4 MiB for one who was quick
// and then stalls, which counts as the pod's memory.
const sendBuffer = 128 << 10

// boundSending is called for each connection.
func boundSending(ctx context.Context, conn net.Conn) context.Context {
	if tcp, ok := conn.(*net.TCPConn); ok {
		tcp.SetWriteBuffer(sendBuffer) // it fails only if the connection has ended
	}
	return ctx
}

// track follows a connection through its life.
func (s *server) track(conn net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		s.open.Add(1)
		s.silent.Store(conn, nil)
		return
	case http.StateClosed, http.StateHijacked:
		s.open.Add(-1)
	}
	s.silent.Delete(conn)
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
// one that was accepted: connections get a last answer, and so does whoever
// comes meanwhile; what waits in the listen queue is taken; and what runs may
// finish within requestGrace.
func (s *server) serve(ctx context.Context, listener net.Listener) error {
	queue := &drainable{Listener: listener}
	served := make(chan error, 1)
	go func() { served <- s.http.Serve(queue) }()
	select {
	case err := <-served:
		return fmt.Errorf("serving %s: %w", listener.Addr(), err)
	case <-ctx.Done():
	}
	s.draining.Store(true)
	s.waitForConnections(lameDuck)
	queue.drain()
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("stopping: %w", err)
	}
	s.waitForConnections(drainGrace)
	s.silent.Range(func(conn, _ any) bool { conn.(net.Conn).Close(); return true }) // Shutdown would wait for them
	limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), requestGrace)
	defer cancel()
	if err := s.http.Shutdown(limit); err != nil {
		s.http.Close()
		s.log.Warn("requests still ran and were cut off: a reader that does not read, or a client that does not send", "after", requestGrace)
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
// the kernel has already completed and then ends: closing it at once would
// reset them. Serve closes it.
type drainable struct {
	net.Listener
	until atomic.Pointer[time.Time] // set when it drains: the latest end
}

// queueEmpty is how long nothing may come before the queue counts as empty.
const queueEmpty = 20 * time.Millisecond

// Accept implements net.Listener.
func (d *drainable) Accept() (net.Conn, error) {
	conn, err := d.Listener.Accept()
	if d.until.Load() != nil {
		if err != nil {
			return nil, http.ErrServerClosed
		}
		d.extend()
	}
	return conn, err
}

// drain makes Accept end with http.ErrServerClosed when the queue is empty,
// after lameDuck at the latest.
func (d *drainable) drain() {
	until := time.Now().Add(lameDuck)
	d.until.Store(&until)
	d.extend()
}

// extend gives the next connection its time to come.
func (d *drainable) extend() {
	deadline := time.Now().Add(queueEmpty)
	if until := *d.until.Load(); until.Before(deadline) {
		deadline = until
	}
	if l, ok := d.Listener.(*net.TCPListener); !ok || l.SetDeadline(deadline) != nil {
		d.Listener.Close()
	}
}
