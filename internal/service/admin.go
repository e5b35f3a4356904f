package service

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"miniblog/internal/web"
)

// adminRoutes are the routes for operators and probes, with profiles if only
// those can reach them. They are on ADMIN_ADDR where that is set, which neither
// an ingress nor a NodePort leads to, and else on ADDR.
func (s *server) adminRoutes(profiles bool) map[string]http.Handler {
	routes := map[string]http.Handler{
		"GET /healthz": web.Handler(s.healthz),
		"GET /readyz":  web.Handler(s.readyz),
		"GET /metrics": promhttp.Handler(),
	}
	if profiles {
		routes["GET /debug/pprof/"] = http.HandlerFunc(pprof.Index)
		routes["GET /debug/pprof/profile"] = http.HandlerFunc(pprof.Profile)
		routes["GET /debug/pprof/trace"] = http.HandlerFunc(pprof.Trace)
	}
	return routes
}

// healthz fails where only a restart helps.
func (s *server) healthz(w http.ResponseWriter, _ *http.Request) error {
	if alive := s.service.Alive; alive != nil {
		if err := alive(); err != nil {
			web.WriteProblem(w, web.NewProblem(http.StatusServiceUnavailable, "Only a restart helps: %v.", err))
			return nil // whatever failed has logged it: not a line at every probe
		}
	}
	return web.WriteJSON(w, http.StatusOK, map[string]string{"status": "alive"})
}

func (s *server) readyz(w http.ResponseWriter, _ *http.Request) error {
	if s.draining.Load() {
		return web.Unavailable(time.Second, nil, "The service is stopping.")
	}
	if ready := s.service.Ready; ready != nil {
		if err := ready(); err != nil {
			web.WriteProblem(w, web.NewProblem(http.StatusServiceUnavailable, "Not ready: %v.", err))
			return nil // expected while starting: not worth a line of log
		}
	}
	return web.WriteJSON(w, http.StatusOK, map[string]string{"status": "ready"})
}

// serveAdmin serves the routes of ADMIN_ADDR until ctx ends, which is after the
// last public answer: a probe hears until then that the service is stopping.
func (s *server) serveAdmin(ctx context.Context, listener net.Listener) error {
	defer context.AfterFunc(ctx, func() { s.admin.Close() })()
	if err := s.admin.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving ADMIN_ADDR %s: %w", listener.Addr(), err)
	}
	return nil
}
