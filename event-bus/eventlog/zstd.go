package eventlog

import (
	"bytes"
	"runtime"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// window is how far back a frame may refer, in bytes. Every reader of the log
// needs that much memory.
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

// decodeSome decodes data up to the end of its nth line into lines, which has
// room for all of it, and returns the lines. The data's own checksum is at its
// end and is not looked at: whoever calls has checked the batch's.
func decodeSome(data []byte, n int, lines []byte) ([]byte, error) {
	d := streamDecoders.Get().(*zstd.Decoder)
	defer streamDecoders.Put(d)
	if err := d.Reset(bytes.NewReader(data)); err != nil {
		return nil, err
	}
	for end := 0; end < len(lines); {
		part := lines[end:min(end+decodeAtOnce, len(lines))]
		m, err := d.Read(part)
		end += m
		for part = part[:m]; ; {
			i := bytes.IndexByte(part, '\n')
			if i < 0 {
				break
			}
			part = part[i+1:]
			if n--; n == 0 {
				return lines[:end-len(part)], nil
			}
		}
		if err != nil {
			return nil, err
		}
	}
	return nil, errData
}

// decodeAtOnce is how many bytes are decoded before they are looked at.
const decodeAtOnce = 64 << 10

// streamDecoders decode what is not wanted whole.
var streamDecoders = sync.Pool{New: func() any {
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxMemory(maxFrame))
	if err != nil {
		panic("eventlog: options of a decoder: " + err.Error())
	}
	return d
}}

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

// smallestEncoders and smallEncoders encode sealed segments, once and for good: as
// small as can be, at some 45 MB/s, or beside other work three times as fast. One of
// the smallest has tables of 34 MB, which go when it has not been needed for a while.
var (
	smallestEncoders = sync.Pool{New: func() any { return newEncoder(zstd.SpeedBestCompression) }}
	smallEncoders    = sync.Pool{New: func() any { return newEncoder(zstd.SpeedBetterCompression) }}
)

// fastEncoders encode what is not sealed yet, and what is sent of a frame that is
// not sent whole.
var fastEncoders = sync.Pool{New: func() any { return newEncoder(zstd.SpeedFastest) }}
