package trace

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	otel "go.opentelemetry.io/otel/trace"

	"miniblog/internal/event"
)

// record records spans until the test ends.
func record(t testing.TB) *tracetest.SpanRecorder {
	r := tracetest.NewSpanRecorder()
	Use(sdk.NewTracerProvider(sdk.WithSpanProcessor(r)))
	t.Cleanup(func() { Use(nil) })
	return r
}

func news(i int) event.Event {
	return event.New(fmt.Sprint("id-", i), "/test", "Happened", "subject", i)
}

// published returns n events, each of a trace of its own.
func published(n int) (events []event.Event, spans []*Span) {
	for i := range n {
		_, e, span := Publish(context.Background(), "http://bus:4005", news(i))
		e.Sequence = event.Sequence(i + 1)
		span.Stored(e.Sequence, nil)
		events, spans = append(events, e), append(spans, span)
	}
	return events, spans
}

// named returns the recorded spans of a name.
func named(r *tracetest.SpanRecorder, name string) (spans []sdk.ReadOnlySpan) {
	for _, s := range r.Ended() {
		if s.Name() == name {
			spans = append(spans, s)
		}
	}
	return spans
}

func TestOneRequestForManyIsLinkedToEach(t *testing.T) {
	r := record(t)
	_, spans := published(3)
	_, request := Request(context.Background(), "POST", "http://bus/events", spans)
	request.End(nil)
	got := named(r, "POST")[0]
	if got.Parent().SpanID() != spans[0].span.SpanContext().SpanID() || len(got.Links()) != 2 {
		t.Errorf("the request is below %v and linked to %d others", got.Parent().SpanID(), len(got.Links()))
	}
}

func TestOneAppendForManyIsLinkedToEach(t *testing.T) {
	r := record(t)
	events, _ := published(3)
	lines := make([]event.Line, len(events))
	for i := range events {
		lines[i], _ = event.NewLine(&events[i])
	}
	ctx := otel.ContextWithRemoteSpanContext(context.Background(), extract(events[0].Traceparent, ""))
	_, span := Append(ctx, lines)
	span.Stored(1, nil)
	got := named(r, "append")[0]
	if got.Parent().TraceID() != got.SpanContext().TraceID() || len(got.Links()) != 2 {
		t.Errorf("the append is in the trace %v and linked to %d others", got.SpanContext().TraceID(), len(got.Links()))
	}
}

func TestAFewEventsOfOneTransactionHaveASpanEach(t *testing.T) {
	r := record(t)
	events, _ := published(spansPerBatch)
	batch := NewBatch()
	batch.Add(events, nil)
	batch.End(nil)
	spans := named(r, "apply Happened")
	if len(spans) != spansPerBatch {
		t.Fatalf("%d spans", len(spans))
	}
	for i, s := range spans {
		if c := extract(events[i].Traceparent, ""); s.Parent().SpanID() != c.SpanID() || s.SpanContext().TraceID() != c.TraceID() {
			t.Errorf("the span of event %d is not in its trace", i)
		}
	}
}

func TestManyEventsOfOneTransactionHaveOneSpanWithLinks(t *testing.T) {
	r := record(t)
	events, _ := published(linksPerSpan + 10)
	batch := NewBatch()
	batch.Add(events, nil)
	batch.End(errors.New("the disk is full"))
	spans := named(r, "apply")
	if len(spans) != 1 || len(spans[0].Links()) != linksPerSpan || len(named(r, "apply Happened")) > 0 {
		t.Fatalf("%d spans", len(spans))
	}
	if spans[0].Status().Description != "the disk is full" {
		t.Errorf("its status is %v", spans[0].Status())
	}
}

// TestEventKeepsItsTraceWhenItsSenderHasNone: a bus that is not traced sends the
// event, which carries its context, in a request that has none.
func TestEventKeepsItsTraceWhenItsSenderHasNone(t *testing.T) {
	r := record(t)
	events, _ := published(1)
	handler := Route("POST /events", http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		_, span := Process(req.Context(), &events[0])
		span.End(nil)
	}))
	handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("POST", "/events", nil))
	got := named(r, "process Happened")[0]
	if got.SpanContext().TraceID() != extract(events[0].Traceparent, "").TraceID() || len(got.Links()) != 2 { // to the event and to the request
		t.Errorf("it is in the trace %v, with %d links", got.SpanContext().TraceID(), len(got.Links()))
	}
}

func TestEventsWithoutAContextAreNotTraced(t *testing.T) {
	r := record(t)
	e := news(1)
	for what, parent := range map[string]string{"none": "", "one that is none": "00-x-y-01"} {
		e.Traceparent = parent
		line, _ := event.NewLine(&e)
		_, push := Push(context.Background(), "s", "http://s", 1, line.Text())
		push.Pushed(200, "", "")
		batch := NewBatch()
		batch.Add([]event.Event{e}, nil)
		batch.End(nil)
		MarkOf(&e).Show().End(nil)
		if n := len(r.Ended()); n > 0 {
			t.Errorf("with %s there are %d spans", what, n)
		}
	}
}

// TestWhatIsNotUTF8IsNotLost: one path that protobuf does not take would lose
// all spans that are sent together with it.
func TestWhatIsNotUTF8IsNotLost(t *testing.T) {
	r := record(t)
	handler := Route("GET /{name}", http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	request := httptest.NewRequest("GET", "/%ff", nil)
	request.Header.Set("User-Agent", "\xff")
	handler.ServeHTTP(httptest.NewRecorder(), request)
	for _, a := range named(r, "GET /{name}")[0].Attributes() {
		if v := a.Value.AsString(); strings.ToValidUTF8(v, "") != v {
			t.Errorf("%s is %q", a.Key, v)
		}
	}
}

func TestStreamsAndLongPollsHaveNoSpan(t *testing.T) {
	r := record(t)
	handler := Route("GET /events", http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	stream := httptest.NewRequest("GET", "/events", nil)
	stream.Header.Set("Accept", "text/event-stream")
	handler.ServeHTTP(httptest.NewRecorder(), stream)
	handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/events?after=1&wait=30s", nil))
	handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/events?after=1&follow=1s", nil))
	if n := len(r.Ended()); n > 0 {
		t.Errorf("they have %d spans", n)
	}
	handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/events?after=1", nil))
	if n := len(r.Ended()); n != 1 {
		t.Errorf("a request that is neither has %d spans", n)
	}
}

func TestLogLinesWithinASpanNameIt(t *testing.T) {
	record(t)
	var out bytes.Buffer
	log := slog.New(LogHandler(slog.NewTextHandler(&out, nil))).With("service", "x")
	ctx, _, span := Publish(context.Background(), "http://bus:4005", news(1))
	log.InfoContext(ctx, "within")
	log.Info("outside")
	c := span.span.SpanContext()
	lines := strings.Split(out.String(), "\n")
	if want := fmt.Sprintf("trace_id=%s span_id=%s", c.TraceID(), c.SpanID()); !strings.HasSuffix(lines[0], want) || strings.Contains(lines[1], "trace_id") {
		t.Errorf("the lines are %q", lines)
	}
}

// everyStep does what each event meets on its way through the blog.
func everyStep(ctx context.Context, e event.Event, events []event.Event, lines []event.Line, header http.Header) {
	ctx, e, span := Publish(ctx, "http://localhost:4005", e)
	Inject(ctx, header)
	span.Stored(1, nil)
	ctx, span = Append(ctx, lines)
	span.End(nil)
	ctx, span = Push(ctx, "moderation", "http://localhost:4003/events", 1, lines[0].Text())
	span.Pushed(200, "", "")
	ctx, span = Process(ctx, &events[0])
	e = Create(ctx, e)
	span.End(nil)
	batch := NewBatch()
	batch.Add(events, nil)
	batch.End(nil)
	MarkOf(&events[0]).Show().End(nil)
	if e.ID == "" {
		panic("the event is gone")
	}
}

func steps() (context.Context, event.Event, []event.Event, []event.Line, http.Header) {
	e := news(1)
	e.Traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	line, err := event.NewLine(&e)
	if err != nil {
		panic(err)
	}
	return context.Background(), e, []event.Event{e}, []event.Line{line}, http.Header{}
}

func TestOffNothingIsAllocated(t *testing.T) {
	ctx, e, events, lines, header := steps()
	if n := testing.AllocsPerRun(1000, func() { everyStep(ctx, e, events, lines, header) }); n > 0 {
		t.Errorf("%v allocations an event", n)
	}
	next := http.NotFoundHandler()
	if got := Route("GET /", next); fmt.Sprintf("%p", got) != fmt.Sprintf("%p", next) {
		t.Error("requests pass through something")
	}
}

// BenchmarkOff is what tracing costs an event, in all processes together, where
// it is not configured; BenchmarkOn where it is, without the exporter.
func BenchmarkOff(b *testing.B) {
	ctx, e, events, lines, header := steps()
	b.ReportAllocs()
	for b.Loop() {
		everyStep(ctx, e, events, lines, header)
	}
}

func BenchmarkOn(b *testing.B) {
	Use(sdk.NewTracerProvider())
	b.Cleanup(func() { Use(nil) })
	ctx, e, events, lines, header := steps()
	b.ReportAllocs()
	for b.Loop() {
		everyStep(ctx, e, events, lines, header)
	}
}
