package trace

import (
	"net/http"
	neturl "net/url"
	"strconv"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	otel "go.opentelemetry.io/otel/trace"

	"miniblog/internal/wire"
)

// Route returns next with a span for each of its requests, named by the pattern
// of http.ServeMux that leads to it. While nothing is recorded, it is next
// itself.
//
// A stream and a long poll last for as long as their reader likes, and serve
// events of many traces: they have no span.
func Route(pattern string, next http.Handler) http.Handler {
	if !On() {
		return next
	}
	_, route, _ := strings.Cut(pattern, " ")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if staysOpen(r) {
			next.ServeHTTP(w, r)
			return
		}
		ctx := w3c.Extract(r.Context(), propagation.HeaderCarrier(r.Header))
		ctx, span := start(ctx, pattern, otel.SpanKindServer, nil,
			semconv.HTTPRequestMethodKey.String(r.Method), semconv.HTTPRoute(route),
			semconv.URLPath(text(r.URL.Path)), semconv.URLScheme("http"), semconv.UserAgentOriginal(text(r.UserAgent())))
		defer span.End(nil)
		next.ServeHTTP(w, r.WithContext(ctx))
		span.answered(w)
	})
}

// server returns whom a request to url goes to.
func server(url string) []attribute.KeyValue {
	u, err := neturl.Parse(url)
	if err != nil || u.Host == "" {
		return nil
	}
	port, err := strconv.Atoi(u.Port())
	if err != nil {
		port = map[string]int{"http": 80, "https": 443}[u.Scheme]
	}
	return []attribute.KeyValue{semconv.ServerAddress(u.Hostname()), semconv.ServerPort(port)}
}

// staysOpen tells whether a request waits for what comes.
func staysOpen(r *http.Request) bool {
	query := r.URL.RawQuery
	return strings.Contains(r.Header.Get("Accept"), "text/event-stream") ||
		strings.Contains(query, wire.Wait+"=") || strings.Contains(query, wire.Follow+"=")
}

// answered notes the status of a server's answer. Only 5xx is the server's
// failure.
func (s *Span) answered(w http.ResponseWriter) {
	keeper, ok := w.(interface{ Status() int })
	if s == nil || !ok {
		return
	}
	status := keeper.Status()
	s.span.SetAttributes(semconv.HTTPResponseStatusCode(status))
	if status >= http.StatusInternalServerError {
		s.fail(strconv.Itoa(status), "")
	}
}
