package web

import (
	"context"
	"io"
	"log/slog"
	"math"
	"net"
	"net/http"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/rs/cors"
)

// Chain wraps h in middleware, the first outermost.
func Chain(h http.Handler, middleware ...func(http.Handler) http.Handler) http.Handler {
	for i := len(middleware) - 1; i >= 0; i-- {
		h = middleware[i](h)
	}
	return h
}

// AllowOrigins answers CORS for the pages at origins; none, no CORS.
func AllowOrigins(origins []string) func(http.Handler) http.Handler {
	if len(origins) == 0 {
		return func(next http.Handler) http.Handler { return next }
	}
	return cors.New(cors.Options{
		AllowedOrigins: origins,
		AllowedMethods: []string{http.MethodGet, http.MethodHead, http.MethodPost},
		AllowedHeaders: []string{"Content-Type", "Idempotency-Key", "If-None-Match", "Last-Event-ID", "traceparent", "tracestate"},
		ExposedHeaders: []string{"ETag", "Event-Log", "Event-Sequence", "Event-Sequence-Last", "Link", "Retry-After"},
		MaxAge:         600,
	}).Handler
}

// AllowHosts refuses requests that are addressed to none of hosts, names or IP
// addresses without a port, with 421; none, and any will do. A browser says
// which name a page believes it talks to.
func AllowHosts(hosts []string) func(http.Handler) http.Handler {
	if len(hosts) == 0 {
		return func(next http.Handler) http.Handler { return next }
	}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			name := hostName(r.Host)
			if name != "" && !slices.ContainsFunc(hosts, func(h string) bool { return strings.EqualFold(h, name) }) {
				WriteProblem(w, NewProblem(http.StatusMisdirectedRequest,
					"This service does not answer for %.100q. If it should, add the name to ALLOWED_HOSTS.", name))
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}

// hostName returns the name in a Host header, which may have a port.
func hostName(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return strings.TrimSuffix(strings.Trim(host, "[]"), ".")
}

var requestSeconds = promauto.NewHistogramVec(prometheus.HistogramOpts{
	Name:    "http_request_duration_seconds",
	Help:    "Time from a request's headers to the end of its answer, by route and status.",
	Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 5, 30},
}, []string{"route", "status"})

// Observe measures every request, turns the errors that the standard library
// answers by itself (no such route, wrong method, a range that a file does not
// have) into problems, and a panic into a 500.
func Observe(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		a := &answer{ResponseWriter: w, request: r, came: start, holder: holder{memory: requests}}
		defer a.holder.release()
		defer func() {
			if p := recover(); p != nil {
				if p == http.ErrAbortHandler {
					panic(p)
				}
				slog.Error("a handler panicked; the request got 500, the service goes on", "method", r.Method, "path", r.URL.Path, "panic", p, "stack", string(debug.Stack()))
				if a.status != 0 {
					panic(http.ErrAbortHandler) // the answer has begun: cut it off rather than end it as if whole
				}
				WriteProblem(a, NewProblem(http.StatusInternalServerError, "The service could not do this; its log says why."))
			}
			requestSeconds.WithLabelValues(r.Pattern, strconv.Itoa(a.Status())).Observe(time.Since(start).Seconds())
		}()
		next.ServeHTTP(a, r)
	})
}

// answer remembers a response's status. It is an io.ReaderFrom and unwraps,
// so that sendfile, flushing and deadlines work through it.
type answer struct {
	http.ResponseWriter
	request  *http.Request
	came     time.Time     // the request's headers
	sending  time.Duration // its client has taken so long to send the body
	status   int
	ours     bool // an error of this package
	replaced bool // another error, and a problem took its place
	holder   holder
}

// answerOf returns what w is of Observe's; one with a memory of its own, where w did
// not come through that.
func answerOf(w http.ResponseWriter) *answer {
	for {
		switch next := w.(type) {
		case *answer:
			return next
		case interface{ Unwrap() http.ResponseWriter }:
			w = next.Unwrap()
		default:
			return &answer{came: time.Now(), holder: holder{memory: newMemory(math.MaxInt64)}}
		}
	}
}

// answerDue is when a request has to have its answer: five seconds are promised.
const answerDue = 4500 * time.Millisecond

// UntilDue returns r's context, which ends when the answer is due: whatever a request
// waits for, it does not wait for one thing after another for longer. What its
// client took to send the body is not counted.
func UntilDue(w http.ResponseWriter, r *http.Request) (context.Context, context.CancelFunc) {
	a := answerOf(w)
	return context.WithDeadline(r.Context(), a.came.Add(answerDue+a.sending))
}

// Status returns the answer's status: what the server sends for a handler that
// sent nothing is 200.
func (a *answer) Status() int {
	if a.status == 0 {
		return http.StatusOK
	}
	return a.status
}

// WriteHeader implements http.ResponseWriter.
func (a *answer) WriteHeader(status int) {
	if a.status == 0 {
		a.status = status
	}
	if status >= 400 && !a.ours && !a.replaced {
		a.replaced = true
		for _, of := range []string{"Content-Encoding", "Etag", "Last-Modified"} { // of what was asked for
			a.Header().Del(of)
		}
		WriteProblem(a.ResponseWriter, a.problem(status))
		return
	}
	a.ResponseWriter.WriteHeader(status)
}

// NotAllowed is the 405 for a method where only those in allow are possible,
// which it also puts into the answer's header.
func NotAllowed(header http.Header, method, allow string) *Problem {
	header.Set("Allow", allow)
	return NewProblem(http.StatusMethodNotAllowed, "%s is not possible here; use %s.", method, allow)
}

// problem is the answer in the place of an error of the standard library.
func (a *answer) problem(status int) *Problem {
	switch {
	case status == http.StatusMethodNotAllowed:
		return NotAllowed(a.Header(), a.request.Method, a.Header().Get("Allow"))
	case status == http.StatusPreconditionFailed:
		return NewProblem(status, "What is here is not what If-Match or If-Unmodified-Since names: get it anew.")
	case status == http.StatusRequestedRangeNotSatisfiable:
		return NewProblem(status, "What is here has none of the bytes that Range names: leave that header out.")
	case status == http.StatusNotFound, a.request.Pattern == "":
		return NewProblem(status, "There is nothing at %.100q. docs/api.md lists the routes.", a.request.URL.Path)
	case status >= 500:
		return NewProblem(status, "The service could not do this now. Trying again may help.")
	default:
		return NewProblem(status, "This route does not take such a request. docs/api.md says what it takes.")
	}
}

// Write implements http.ResponseWriter.
func (a *answer) Write(b []byte) (int, error) {
	if a.replaced {
		return len(b), nil
	}
	if a.status == 0 {
		a.status = http.StatusOK
	}
	return a.ResponseWriter.Write(b)
}

// ReadFrom implements io.ReaderFrom: the server's own writer uses sendfile.
func (a *answer) ReadFrom(src io.Reader) (int64, error) {
	if a.status == 0 {
		a.status = http.StatusOK
	}
	return io.Copy(a.ResponseWriter, src)
}

// Unwrap serves http.ResponseController.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }
