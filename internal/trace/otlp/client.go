package otlp

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// client sends spans as OTLP over HTTP has it: one POST of protobuf. It
// implements otlptrace.Client.
type client struct {
	http    http.Client
	url     string
	headers http.Header
	gzip    bool
	failing atomic.Bool // the last upload failed, and that was logged
}

// Start implements otlptrace.Client.
func (c *client) Start(context.Context) error { return nil }

// Stop implements otlptrace.Client.
func (c *client) Stop(context.Context) error {
	c.http.CloseIdleConnections()
	return nil
}

// UploadTraces implements otlptrace.Client: it tries until the receiver takes
// the spans, refuses them, or ctx ends, which the SDK bounds. Spans that are
// lost are no reason to disturb the service: a line says so, and another when
// they are taken again.
func (c *client) UploadTraces(ctx context.Context, spans []*tracepb.ResourceSpans) error {
	// TracesData has the bytes of ExportTraceServiceRequest, whose package would
	// bring gRPC with it.
	body, err := proto.Marshal(&tracepb.TracesData{ResourceSpans: spans})
	if err == nil && c.gzip {
		body, err = compress(body)
	}
	if err != nil {
		return fmt.Errorf("encoding spans: %w", err)
	}
	for wait := 200 * time.Millisecond; ; wait *= 2 {
		err = c.post(ctx, body)
		c.tell(err)
		var later *retry
		if !errors.As(err, &later) {
			break
		}
		select {
		case <-time.After(max(wait, later.after)):
			continue
		case <-ctx.Done():
		}
		break
	}
	return err
}

// tell logs that spans are not taken, once, and that they are again.
func (c *client) tell(err error) {
	failed := err != nil
	switch was := c.failing.Swap(failed); {
	case failed && !was:
		slog.Warn("traces cannot be exported; they are lost until they can", "endpoint", c.url, "error", err)
	case was && !failed:
		slog.Info("traces are exported again", "endpoint", c.url)
	}
}

// retry is an error after which another attempt may help.
type retry struct {
	error
	after time.Duration
}

func (r *retry) Unwrap() error { return r.error }

func (c *client) post(ctx context.Context, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header = c.headers.Clone()
	req.Header.Set("Content-Type", "application/x-protobuf")
	if c.gzip {
		req.Header.Set("Content-Encoding", "gzip")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return &retry{error: err}
	}
	defer resp.Body.Close()
	answer, _ := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
	if resp.StatusCode/100 == 2 {
		return nil
	}
	err = fmt.Errorf("the receiver answered %s: %.200q", resp.Status, answer)
	switch resp.StatusCode {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout: // as OTLP has it
		seconds, _ := strconv.Atoi(resp.Header.Get("Retry-After"))
		return &retry{err, time.Duration(seconds) * time.Second}
	}
	return err
}

func compress(body []byte) ([]byte, error) {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err := w.Write(body)
	return b.Bytes(), errors.Join(err, w.Close())
}
