// Package trace records what a request does, and what the events do that it
// causes, as spans of OpenTelemetry. W3C trace context ties them together: a
// request brings it in its headers, an event in its attributes traceparent and
// tracestate (CloudEvents' distributed tracing extension).
//
// Its law: tracing changes nothing but those attributes. Where it is not
// configured nothing is recorded, and what is on every event's way allocates
// nothing. An event that carries no context is not traced.
//
// This package knows OpenTelemetry's API only; internal/trace/otlp has its SDK
// and sends what is recorded.
//
// The spans of a comment, each with its service:
//
//	comments    POST /posts/{id}/comments            a request
//	comments      publish CommentCreated             the event carries this span's context
//	comments        POST                             a request to the bus: one event, or a batch
//	event-bus         POST /events
//	event-bus           append                       until the events are on disk
//	event-bus       push CommentCreated              each attempt
//	moderation        POST /events
//	moderation          process CommentCreated
//	moderation            create CommentModerated    the reply carries this span's context
//	event-bus         append                         the reply
//	…                       push CommentModerated, and so on
//	query           apply CommentCreated             and comments: in the projection
//	query           show CommentCreated              until the first reader of the live stream has it
//
// A process that works on many events at once records one span, with links to
// what it serves: a request that carries a batch, the append of a batch, and a
// transaction of more than spansPerBatch events.
package trace

import (
	"context"
	"net/http"
	"strings"
	"sync/atomic"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	otel "go.opentelemetry.io/otel/trace"
)

// recorder makes the spans of this process; nil while nothing is recorded.
var recorder atomic.Pointer[tracer]

type tracer struct{ otel.Tracer }

// Use records spans with provider from now on, and none if it is nil.
func Use(provider otel.TracerProvider) {
	if provider == nil {
		recorder.Store(nil)
		return
	}
	recorder.Store(&tracer{provider.Tracer("miniblog/internal/trace", otel.WithSchemaURL(semconv.SchemaURL))})
}

// On tells whether spans are recorded.
func On() bool { return recorder.Load() != nil }

// Span is a step of a trace. A nil one, which is what all functions of this
// package return while nothing is recorded, ignores what it is told.
type Span struct{ span otel.Span }

// start starts a span. The caller has seen that recording is on; if it was
// switched off since, the span is nil.
func start(ctx context.Context, name string, kind otel.SpanKind, links []otel.Link, attributes ...attribute.KeyValue) (context.Context, *Span) {
	t := recorder.Load()
	if t == nil {
		return ctx, nil
	}
	ctx, span := t.Start(ctx, name, otel.WithSpanKind(kind), otel.WithLinks(links...), otel.WithAttributes(attributes...))
	return ctx, &Span{span}
}

// End ends the span; an error is what the step failed with. Only the first End
// counts.
func (s *Span) End(err error) {
	if s == nil {
		return
	}
	if err != nil {
		s.fail("", err.Error())
	}
	s.span.End()
}

// fail marks the span as failed. kind is a short class of error, "" if there is
// none.
func (s *Span) fail(kind, description string) {
	if kind == "" {
		s.span.SetAttributes(semconv.ErrorTypeOther)
	} else {
		s.span.SetAttributes(semconv.ErrorTypeKey.String(kind))
	}
	s.span.SetStatus(codes.Error, text(description))
}

// text makes s what OTLP takes: UTF-8. A path or a header may be anything.
func text(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

// Inject puts the context of the span that ctx belongs to into the headers of a
// request.
func Inject(ctx context.Context, header http.Header) {
	if On() {
		w3c.Inject(ctx, propagation.HeaderCarrier(header))
	}
}

var w3c propagation.TraceContext

func inject(c otel.SpanContext, carrier propagation.TextMapCarrier) {
	w3c.Inject(otel.ContextWithSpanContext(context.Background(), c), carrier)
}

// attributes is trace context as an event has it.
type attributes struct{ traceparent, tracestate string }

// Get implements propagation.TextMapCarrier.
func (a *attributes) Get(key string) string {
	switch key {
	case "traceparent":
		return a.traceparent
	case "tracestate":
		return a.tracestate
	}
	return ""
}

// Set implements propagation.TextMapCarrier.
func (a *attributes) Set(key, value string) {
	switch key {
	case "traceparent":
		a.traceparent = value
	case "tracestate":
		a.tracestate = value
	}
}

// Keys implements propagation.TextMapCarrier.
func (a *attributes) Keys() []string { return w3c.Fields() }

// extract returns the context that an event carries; it is not valid if the
// event carries none.
func extract(traceparent, tracestate string) otel.SpanContext {
	if traceparent == "" {
		return otel.SpanContext{}
	}
	return otel.SpanContextFromContext(w3c.Extract(context.Background(), &attributes{traceparent, tracestate}))
}
