package main

import (
	"compress/gzip"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/klauspost/compress/zstd"

	"miniblog/internal/service"
)

// acceptedEncoding returns zstd, gzip or "", the best that the request accepts
// (RFC 9110, section 12.5.3).
func acceptedEncoding(r *http.Request) string {
	best := ""
	accepted := strings.ToLower(strings.Join(r.Header.Values("Accept-Encoding"), ","))
	for part := range strings.SplitSeq(accepted, ",") {
		name, parameters, _ := strings.Cut(part, ";")
		if q, ok := strings.CutPrefix(strings.TrimSpace(parameters), "q="); ok {
			if weight, err := strconv.ParseFloat(q, 64); err != nil || weight == 0 {
				continue
			}
		}
		switch strings.TrimSpace(name) {
		case "zstd", "*":
			return "zstd"
		case "gzip":
			best = "gzip"
		}
	}
	return best
}

// newBody returns a writer of an answer in the given encoding. Close ends the
// encoding; it must be called for the answer to be whole.
func newBody(stream *service.Stream, header http.Header, encoding string) io.WriteCloser {
	switch encoding {
	case "zstd":
		header.Set("Content-Encoding", encoding)
		e, err := zstd.NewWriter(stream, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(1<<20), zstd.WithLowerEncoderMem(true))
		if err != nil {
			panic("event-bus: options of an encoder: " + err.Error())
		}
		return e
	case "gzip":
		header.Set("Content-Encoding", encoding)
		e, _ := gzip.NewWriterLevel(stream, gzip.BestSpeed)
		return e
	default:
		return plainBody{stream}
	}
}

// plainBody is a body without an encoding.
type plainBody struct{ io.Writer }

func (plainBody) Close() error { return nil }
