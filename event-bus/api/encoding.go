package api

import (
	"io"
	"net/http"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"miniblog/internal/web"
)

// acceptedEncoding returns zstd, gzip or "", the best that the request accepts.
func acceptedEncoding(r *http.Request) string {
	switch {
	case web.AcceptsEncoding(r, "zstd"), web.AcceptsEncoding(r, "*"):
		return "zstd"
	case web.AcceptsEncoding(r, "gzip"):
		return "gzip"
	}
	return ""
}

// newBody returns a writer of an answer in the given encoding. Close ends the
// encoding; it must be called for the answer to be whole.
func newBody(stream *web.Stream, header http.Header, encoding string) io.WriteCloser {
	pool, ok := encoders[encoding]
	if !ok {
		return plainBody{stream}
	}
	header.Set("Content-Encoding", encoding)
	e := pool.Get().(encoder)
	e.Reset(stream)
	return encodedBody{e, pool}
}

// encoderBytes is what an encoder of the answer's body holds, about.
func (f *fetch) encoderBytes() int {
	if _, encoded := encoders[f.encoding]; encoded {
		return 2 << 20
	}
	return 0
}

// plainBody is a body without an encoding.
type plainBody struct{ io.Writer }

func (plainBody) Close() error { return nil }

// encodedBody is a body that an encoder from pool writes.
type encodedBody struct {
	encoder
	pool *sync.Pool
}

// Close ends the encoding and gives the encoder back, which has a megabyte of
// tables: making one takes longer than sending a small answer.
func (b encodedBody) Close() error {
	defer b.pool.Put(b.encoder)
	return b.encoder.Close()
}

type encoder interface {
	io.WriteCloser
	Reset(io.Writer)
}

var encoders = map[string]*sync.Pool{
	"zstd": {New: func() any {
		e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(1<<20), zstd.WithLowerEncoderMem(true))
		if err != nil {
			panic("event-bus: options of an encoder: " + err.Error())
		}
		return e
	}},
	"gzip": {New: func() any {
		e, err := gzip.NewWriterLevel(nil, gzip.BestSpeed)
		if err != nil {
			panic("event-bus: options of an encoder: " + err.Error())
		}
		return e
	}},
}
