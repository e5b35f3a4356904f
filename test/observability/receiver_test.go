package observability

import (
	"compress/gzip"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"miniblog/test/harness"
)

// receiver is what Jaeger or a collector is: it takes spans by OTLP over HTTP.
type receiver struct {
	url string

	mu    sync.Mutex
	spans []span
}

// span is a span as it arrived.
type span struct {
	service, name     string
	trace, id, parent string // hexadecimal; parent is "" for the first of a trace
	kind              tracepb.Span_SpanKind
	failed            bool
	links             []string // ids of spans
	attributes        map[string]string
}

// newReceiver starts a receiver that only protobuf satisfies.
func newReceiver(t *testing.T) *receiver {
	r := &receiver{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if err := r.take(req); err != nil {
			t.Error(err)
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/x-protobuf") // an ExportTraceServiceResponse without members
	}))
	t.Cleanup(server.Close)
	r.url = server.URL
	return r
}

func (r *receiver) take(req *http.Request) error {
	if req.Method != http.MethodPost || req.URL.Path != "/v1/traces" || req.Header.Get("Content-Type") != "application/x-protobuf" {
		return fmt.Errorf("not OTLP over HTTP: %s %s, %s", req.Method, req.URL.Path, req.Header.Get("Content-Type"))
	}
	body := io.Reader(req.Body)
	if req.Header.Get("Content-Encoding") == "gzip" {
		var err error
		if body, err = gzip.NewReader(body); err != nil {
			return err
		}
	}
	text, err := io.ReadAll(body)
	if err != nil {
		return err
	}
	var request tracepb.TracesData // the members of an ExportTraceServiceRequest
	if err := proto.Unmarshal(text, &request); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, of := range request.ResourceSpans {
		service := textOf(of.Resource.Attributes)["service.name"]
		for _, scope := range of.ScopeSpans {
			for _, s := range scope.Spans {
				var links []string
				for _, link := range s.Links {
					links = append(links, hex.EncodeToString(link.SpanId))
				}
				r.spans = append(r.spans, span{
					service: service, name: s.Name, kind: s.Kind, failed: s.Status.GetCode() == tracepb.Status_STATUS_CODE_ERROR,
					trace: hex.EncodeToString(s.TraceId), id: hex.EncodeToString(s.SpanId), parent: hex.EncodeToString(s.ParentSpanId),
					links: links, attributes: textOf(s.Attributes),
				})
				if s.StartTimeUnixNano == 0 || s.EndTimeUnixNano < s.StartTimeUnixNano {
					return fmt.Errorf("%s ends before it begins", s.Name)
				}
			}
		}
	}
	return nil
}

// textOf returns attributes as text.
func textOf(attributes []*commonpb.KeyValue) map[string]string {
	m := map[string]string{}
	for _, a := range attributes {
		switch v := a.Value.Value.(type) {
		case *commonpb.AnyValue_StringValue:
			m[a.Key] = v.StringValue
		default:
			m[a.Key] = strings.Trim(strings.SplitN(a.Value.String(), ":", 2)[1], " ")
		}
	}
	return m
}

// of returns the spans of a trace.
func (r *receiver) of(trace string) (spans []span) {
	for _, s := range r.all() {
		if s.trace == trace {
			spans = append(spans, s)
		}
	}
	return spans
}

func (r *receiver) all() []span {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.spans)
}

// tree draws spans, each with its service, below its parent; from is the id of
// the span that is the root's parent. The children of a span are sorted.
func tree(spans []span, from string, depth int) (lines []string) {
	var below []span
	for _, s := range spans {
		if s.parent == from {
			below = append(below, s)
		}
	}
	slices.SortFunc(below, func(a, b span) int { return strings.Compare(a.service+a.name, b.service+b.name) })
	for _, s := range below {
		lines = append(lines, fmt.Sprintf("%s%s: %s", strings.Repeat("  ", depth), s.service, s.name))
		lines = append(lines, tree(spans, s.id, depth+1)...)
	}
	return lines
}

// newBlog returns a blog whose reactions are replies, as everywhere but in most
// tests.
func newBlog(t *testing.T) *harness.Blog {
	t.Helper()
	blog := harness.NewBlog(t, harness.Config{})
	harness.SetSubscribers(blog.Bus, []harness.Subscriber{
		{Name: "moderation", URL: blog.Moderation.URL + "/events", Types: []string{"CommentCreated"}, Replies: []string{"CommentModerated"}},
		{Name: "comments", URL: blog.Comments.URL + "/events", Types: []string{"CommentModerated"}, Replies: []string{"CommentUpdated"}},
	})
	return blog
}

// startTraced starts a blog whose processes send their spans to r.
func startTraced(t *testing.T, r *receiver) *harness.Blog {
	t.Helper()
	blog := newBlog(t)
	for _, p := range blog.Processes() {
		p.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", r.url)
		p.Setenv("OTEL_BSP_SCHEDULE_DELAY", "50") // milliseconds; 5000 would have us wait
		p.Start()
	}
	blog.AwaitReady()
	return blog
}
