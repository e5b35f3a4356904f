package trace

import (
	"context"
	"slices"
	"time"

	"go.opentelemetry.io/otel/attribute"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	otel "go.opentelemetry.io/otel/trace"

	"miniblog/internal/event"
)

// The bus has one log; what its subscribers choose by, and so the destination
// of a message, is the type of the event.
var system = semconv.MessagingSystemKey.String("miniblog")

// about returns what all spans about an event have.
func about(operation string, kind attribute.KeyValue, e *event.Event) []attribute.KeyValue {
	list := append(make([]attribute.KeyValue, 0, 12), system, kind,
		semconv.MessagingOperationName(operation), semconv.MessagingDestinationName(e.Type),
		semconv.MessagingMessageID(e.ID), semconv.CloudEventsEventID(e.ID),
		semconv.CloudEventsEventType(e.Type), semconv.CloudEventsEventSource(e.Source))
	if e.Subject != "" {
		list = append(list, semconv.CloudEventsEventSubject(e.Subject))
	}
	if e.Sequence > 0 {
		list = append(list, sequence(e.Sequence))
	}
	return list
}

func sequence(s event.Sequence) attribute.KeyValue {
	return attribute.Int64("miniblog.sequence", int64(s))
}

// startAbout starts a span about an event. more is what samplers may ask for, too.
func startAbout(ctx context.Context, operation string, kind otel.SpanKind, typ attribute.KeyValue, links []otel.Link, e *event.Event, more ...attribute.KeyValue) (context.Context, *Span) {
	return start(ctx, operation+" "+e.Type, kind, links, append(about(operation, typ, e), more...)...)
}

// linksTo returns links to those of the contexts that are valid. What happens to
// an event is linked to the context that it carries also where it is below it.
func linksTo(contexts ...otel.SpanContext) (links []otel.Link) {
	for _, c := range contexts {
		if c.IsValid() {
			links = append(links, otel.Link{SpanContext: c})
		}
	}
	return links
}

// count returns how many events a span is about, unless that is one.
func count(n int) []attribute.KeyValue {
	if n == 1 {
		return nil
	}
	return []attribute.KeyValue{semconv.MessagingBatchMessageCount(n)}
}

// Publish starts the span of an event's publication to the bus at url, and
// returns the event with its context, for whoever gets it.
func Publish(ctx context.Context, url string, e event.Event) (context.Context, event.Event, *Span) {
	if !On() {
		return ctx, e, nil
	}
	return produce(ctx, "publish", semconv.MessagingOperationTypeSend, e, server(url)...)
}

// Create returns a reply with the context of a span of its own, under the span
// of the event that it answers.
func Create(ctx context.Context, reply event.Event) event.Event {
	if !On() {
		return reply
	}
	_, reply, span := produce(ctx, "create", semconv.MessagingOperationTypeCreate, reply)
	span.End(nil)
	return reply
}

// produce starts the span whose context e carries from then on.
func produce(ctx context.Context, operation string, typ attribute.KeyValue, e event.Event, more ...attribute.KeyValue) (context.Context, event.Event, *Span) {
	ctx, span := startAbout(ctx, operation, otel.SpanKindProducer, typ, nil, &e, more...)
	if span != nil {
		var carrier attributes
		inject(span.span.SpanContext(), &carrier)
		e.Traceparent, e.Tracestate = carrier.traceparent, carrier.tracestate
	}
	return ctx, e, span
}

// Stored notes where the log has the event that was published, and ends the
// span.
func (s *Span) Stored(at event.Sequence, err error) {
	if s == nil {
		return
	}
	if at > 0 {
		s.span.SetAttributes(sequence(at))
	}
	s.End(err)
}

// Request starts the span of the request that carries publications: below the
// first, with links to the others. Their spans may be nil.
func Request(ctx context.Context, method, url string, publications []*Span) (context.Context, *Span) {
	if len(publications) == 0 || publications[0] == nil {
		return ctx, nil
	}
	var links []otel.Link
	for _, p := range publications[1:min(len(publications), linksPerSpan)] {
		if p != nil {
			links = append(links, otel.Link{SpanContext: p.span.SpanContext()})
		}
	}
	ctx = otel.ContextWithSpan(ctx, publications[0].span)
	about := append(count(len(publications)), semconv.HTTPRequestMethodKey.String(method), semconv.URLFull(url))
	return start(ctx, method, otel.SpanKindClient, links, append(about, server(url)...)...)
}

// linksPerSpan is how many links a span has at most, as in OpenTelemetry's SDK.
const linksPerSpan = 128

// Append starts the span of storing events, until they are on disk. Those that
// belong to another trace than the request are linked.
func Append(ctx context.Context, lines []event.Line) (context.Context, *Span) {
	if !On() {
		return ctx, nil
	}
	here := otel.SpanContextFromContext(ctx).TraceID()
	var links []otel.Link
	for i := range lines {
		if c := extract(lines[i].Trace()); c.IsValid() && c.TraceID() != here && len(links) < linksPerSpan {
			links = append(links, otel.Link{SpanContext: c})
		}
	}
	return start(ctx, "append", otel.SpanKindInternal, links, count(len(lines))...)
}

// Push starts the span of one attempt, counted from 1, to deliver the event of a
// line of the log to a subscriber. It belongs to the trace that the event
// carries; without one there is no span.
func Push(ctx context.Context, subscriber, url string, attempt int, text []byte) (context.Context, *Span) {
	if !On() {
		return ctx, nil
	}
	e, err := event.ParseLine(text)
	parent := extract(e.Traceparent, e.Tracestate)
	if err != nil || !parent.IsValid() {
		return ctx, nil
	}
	ctx = otel.ContextWithRemoteSpanContext(ctx, parent)
	more := append(server(url), semconv.MessagingDestinationSubscriptionName(subscriber), semconv.HTTPRequestMethodPost, semconv.URLFull(url))
	if attempt > 1 {
		more = append(more, semconv.HTTPRequestResendCount(attempt-1))
	}
	return startAbout(ctx, "push", otel.SpanKindClient, semconv.MessagingOperationTypeSend, linksTo(parent), &e, more...)
}

// Pushed says what an attempt came to, and ends its span. status is 0 if there
// was no answer; failure is "" if the event was delivered.
func (s *Span) Pushed(status int, failure, answer string) {
	if s == nil {
		return
	}
	if status > 0 {
		s.span.SetAttributes(semconv.HTTPResponseStatusCode(status))
	}
	if failure != "" {
		s.fail(failure, answer)
	}
	s.span.End()
}

// Process starts the span of what a service does about an event that was sent to
// it. It is below the request that brought the event; if that is of another
// trace, because whoever sent it is not traced, it is below what the event
// carries, and linked.
func Process(ctx context.Context, e *event.Event) (context.Context, *Span) {
	if !On() {
		return ctx, nil
	}
	request, carried := otel.SpanContextFromContext(ctx), extract(e.Traceparent, e.Tracestate)
	links := linksTo(carried)
	if carried.IsValid() && carried.TraceID() != request.TraceID() {
		ctx = otel.ContextWithRemoteSpanContext(ctx, carried)
		links = linksTo(carried, request)
	}
	return startAbout(ctx, "process", otel.SpanKindConsumer, semconv.MessagingOperationTypeProcess, links, e)
}

// spansPerBatch is how many events of one transaction have a span each.
const spansPerBatch = 32

// Batch is what one transaction of a projection applies. A nil one ignores what
// it is told; it belongs to one goroutine.
type Batch struct {
	began  time.Time
	events []event.Event // that carry a context, without their data; linksPerSpan at most
	count  int
}

// NewBatch returns the batch of a transaction that begins, nil while nothing is
// recorded.
func NewBatch() *Batch {
	if !On() {
		return nil
	}
	return &Batch{began: time.Now()}
}

// Add adds events that are applied, those of the given types, or all if there are
// none. It keeps none of their data.
func (b *Batch) Add(events []event.Event, types []string) {
	if b == nil {
		return
	}
	b.count += len(events)
	for i := range events {
		wanted := len(types) == 0 || slices.Contains(types, events[i].Type)
		if wanted && events[i].Traceparent != "" && len(b.events) < linksPerSpan {
			e := events[i]
			e.Data, e.Extensions = nil, nil
			b.events = append(b.events, e)
		}
	}
}

// End records that the transaction was committed, or why not: a span for each
// event in its own trace, or if they are many one for all of them, linked.
func (b *Batch) End(err error) {
	t := recorder.Load()
	if b == nil || t == nil || len(b.events) == 0 {
		return
	}
	contexts := make([]otel.SpanContext, len(b.events))
	links := make([]otel.Link, len(b.events))
	for i, e := range b.events {
		contexts[i] = extract(e.Traceparent, e.Tracestate)
		links[i].SpanContext = contexts[i]
	}
	if b.count > spansPerBatch {
		_, span := t.Start(context.Background(), "apply", otel.WithTimestamp(b.began), otel.WithSpanKind(otel.SpanKindConsumer), otel.WithLinks(links...),
			otel.WithAttributes(system, semconv.MessagingOperationTypeProcess, semconv.MessagingOperationName("apply"), semconv.MessagingBatchMessageCount(b.count)))
		(&Span{span}).End(err)
		return
	}
	for i := range b.events {
		if !contexts[i].IsValid() {
			continue
		}
		ctx := otel.ContextWithRemoteSpanContext(context.Background(), contexts[i])
		_, span := t.Start(ctx, "apply "+b.events[i].Type, otel.WithTimestamp(b.began), otel.WithSpanKind(otel.SpanKindConsumer), otel.WithLinks(links[i]),
			otel.WithAttributes(about("apply", semconv.MessagingOperationTypeProcess, &b.events[i])...))
		(&Span{span}).End(err)
	}
}

// Mark remembers which event something is about, without its data.
type Mark struct{ event event.Event }

// MarkOf returns the mark of an event, nil if it carries no context or nothing
// is recorded.
func MarkOf(e *event.Event) *Mark {
	if !On() || e.Traceparent == "" {
		return nil
	}
	m := &Mark{*e}
	m.event.Data, m.event.Extensions = nil, nil
	return m
}

// Show starts the span of showing what an event changed to the readers of a live
// stream.
func (m *Mark) Show() *Span {
	if m == nil {
		return nil
	}
	parent := extract(m.event.Traceparent, m.event.Tracestate)
	if !parent.IsValid() {
		return nil
	}
	ctx := otel.ContextWithRemoteSpanContext(context.Background(), parent)
	_, span := startAbout(ctx, "show", otel.SpanKindClient, semconv.MessagingOperationTypeSend, linksTo(parent), &m.event)
	return span
}
