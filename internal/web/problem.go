// Package web holds the conventions that every service follows over HTTP:
// handlers that return errors, problems, JSON bodies, paging and streams.
//
// Its law: every request gets an answer; an error is a problem (RFC 9457) that
// says in a sentence what is wrong and what to do, and shows nothing of the
// program's inside.
package web

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"

	"miniblog/internal/fault"
)

// Problem is an answer that is an error, as RFC 9457 writes it. Handlers
// return it; Handler sends it.
type Problem struct {
	Type       string        `json:"type"` // "about:blank": the status says it all
	Title      string        `json:"title"`
	Status     int           `json:"status"`
	Detail     string        `json:"detail"`
	Field      string        `json:"field,omitzero"` // the member of the body, or the parameter, that is wrong
	RetryAfter time.Duration `json:"-"`              // sent as a header, in whole seconds
	Cause      error         `json:"-"`              // logged, never sent
}

// Error implements error.
func (p *Problem) Error() string {
	if p.Cause != nil {
		return fmt.Sprintf("%d %s: %s: %v", p.Status, p.Title, p.Detail, p.Cause)
	}
	return fmt.Sprintf("%d %s: %s", p.Status, p.Title, p.Detail)
}

// Unwrap returns what caused the problem.
func (p *Problem) Unwrap() error { return p.Cause }

// NewProblem returns a problem with a sentence that helps whoever asked.
func NewProblem(status int, format string, args ...any) *Problem {
	return &Problem{Type: "about:blank", Title: http.StatusText(status), Status: status, Detail: fmt.Sprintf(format, args...)}
}

// Invalid returns the 422 for a field that breaks a rule.
func Invalid(field, format string, args ...any) *Problem {
	p := NewProblem(http.StatusUnprocessableEntity, format, args...)
	p.Field = field
	return p
}

// Unavailable returns a 503 that asks to come back.
func Unavailable(after time.Duration, cause error, format string, args ...any) *Problem {
	p := NewProblem(http.StatusServiceUnavailable, format, args...)
	p.RetryAfter, p.Cause = after, cause
	return p
}

// WriteProblem sends p.
func WriteProblem(w http.ResponseWriter, p *Problem) {
	h := w.Header()
	h.Del("Content-Length")
	h.Set("Content-Type", "application/problem+json")
	h.Set("Cache-Control", "no-store")
	if p.RetryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(int((p.RetryAfter+time.Second-1)/time.Second)))
	}
	body, err := json.Marshal(p)
	if err != nil { // a detail that quotes invalid UTF-8
		body, _ = json.Marshal(NewProblem(p.Status, "The request could not be used."))
	}
	answerOf(w).ours = true
	w.WriteHeader(p.Status)
	w.Write(append(body, '\n'))
}

// faults says how each kind of fault is answered.
var faults = map[fault.Kind]struct {
	status     int
	retryAfter time.Duration
}{
	fault.Unavailable: {http.StatusServiceUnavailable, 2 * time.Second},
	fault.Refused:     {http.StatusBadGateway, 0},
}

// problemOf returns the answer to err: a *Problem as it is, a *fault.Fault by
// its kind, a deadline as a 503, anything else as a 500 that shows nothing of it.
func problemOf(err error) *Problem {
	var p *Problem
	if errors.As(err, &p) {
		return p
	}
	var f *fault.Fault
	if errors.As(err, &f) {
		answer := faults[f.Kind]
		p = NewProblem(answer.status, "%s", f.Detail)
		p.RetryAfter, p.Cause = answer.retryAfter, f.Cause
		return p
	}
	if errors.Is(err, context.DeadlineExceeded) { // UntilDue's
		return Unavailable(time.Second, err, "The service could not answer this in time. Try again in a moment.")
	}
	p = NewProblem(http.StatusInternalServerError, "The service could not do this; its log says why. Trying again may help.")
	p.Cause = err
	return p
}

// Handler is an http.Handler that returns its error. The adapter answers and
// logs it.
type Handler func(http.ResponseWriter, *http.Request) error

// ServeHTTP implements http.Handler.
func (h Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	err := h(w, r)
	if err == nil {
		return
	}
	if r.Context().Err() != nil && errors.Is(err, context.Canceled) {
		panic(http.ErrAbortHandler) // whoever asked is gone; if not quite, they must not get an empty 200
	}
	p := problemOf(err)
	if p.Status >= 500 {
		slog.WarnContext(r.Context(), "request failed", "method", r.Method, "path", r.URL.Path, "status", p.Status, "detail", p.Detail, "error", p.Cause)
	}
	WriteProblem(w, p)
}
