package eventlog

import (
	"runtime"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// window is how far back a frame may refer, in bytes. Every reader of the log
// needs that much memory, and a frame of a sealed segment is as large.
const window = 1 << 20

// decoder returns the decoder that all readers share; DecodeAll may run beside
// itself.
var decoder = sync.OnceValue(func() *zstd.Decoder {
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(runtime.GOMAXPROCS(0)), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxMemory(maxFrame))
	if err != nil {
		panic("eventlog: options of the decoder: " + err.Error())
	}
	return d
})

// newEncoder returns an encoder for EncodeAll from one goroutine at a time.
func newEncoder(level zstd.EncoderLevel) *zstd.Encoder {
	e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(level), zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(true), zstd.WithWindowSize(window))
	if err != nil {
		panic("eventlog: options of an encoder: " + err.Error())
	}
	return e
}

// dataBuffers hold encoded data while it is decoded or written, lineBuffers what
// is decoded.
var (
	dataBuffers = sync.Pool{New: func() any { return new([]byte) }}
	lineBuffers = sync.Pool{New: func() any { return new([]byte) }}
)

// sealEncoders encode sealed segments, once and for good: as small as can be, at
// a tenth of the speed. One has tables of some 40 MB, which go when no segment
// needs them for a while.
var sealEncoders = sync.Pool{New: func() any { return newEncoder(zstd.SpeedBestCompression) }}

// fastEncoders encode what is not sealed yet, and what is sent of a frame that is
// not sent whole.
var fastEncoders = sync.Pool{New: func() any { return newEncoder(zstd.SpeedFastest) }}
