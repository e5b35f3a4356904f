package cluster

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/klauspost/compress/zstd"
	"github.com/nats-io/nats.go"

	"miniblog/event-bus/eventlog"
	"miniblog/internal/event"
)

// A message is a group of publish requests, or, without a body, a barrier:
//
//	Miniblog-Format: 1
//	Nats-Msg-Id: <nonce>                              the same at every attempt
//	Miniblog-Copy: <name>                             of the sender
//	Miniblog-Applied: <message> <sequence> <checksum> what it had applied at its newest point (compare.go)
//
//	zstd( line \n line \n … )                         without sequences
//
// What is larger than a server takes is sent in parts that the stream stores
// together or not at all (JetStream's atomic batch publishing): the parts of
// the body follow one another, and carry beside the headers above
//
//	Nats-Batch-Id: <nonce>  Nats-Batch-Sequence: 1, 2, …  Nats-Batch-Commit: 1 (the last)
const (
	subject       = "miniblog.log"
	formatHeader  = "Miniblog-Format"
	format        = "1"
	nonceHeader   = "Nats-Msg-Id"
	copyHeader    = "Miniblog-Copy"
	appliedHeader = "Miniblog-Applied"
	batchID       = "Nats-Batch-Id"
	batchSequence = "Nats-Batch-Sequence"
	batchCommit   = "Nats-Batch-Commit"
)

// partBytes is how much of a body one message carries: less than max_payload,
// which is a megabyte unless set, by what headers take.
const partBytes = 1<<20 - 4<<10

// maxText bounds the lines of one group, in bytes: a batch of 16 MiB and
// the envelopes of its 50,000 events.
const maxText = 64 << 20

var (
	encoder, _ = zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithWindowSize(1<<20))
	decoder, _ = zstd.NewReader(nil, zstd.WithDecoderMaxMemory(maxText), zstd.WithDecoderConcurrency(0))
	texts      = sync.Pool{New: func() any { return new([]byte) }}
)

// encode returns the messages of a group of requests. Its error says that it is
// too large.
func encode(nonce string, group []*request, sender string, at applied) ([]*nats.Msg, error) {
	text := texts.Get().(*[]byte)
	defer texts.Put(text)
	*text = (*text)[:0]
	for _, r := range group {
		for _, line := range r.lines {
			*text = append(line.Append(*text, 0), '\n')
		}
	}
	if len(*text) > maxText {
		return nil, fmt.Errorf("events of %d bytes are more than the log can store as one; it takes %d", len(*text), maxText)
	}
	var body []byte
	if len(*text) > 0 {
		body = encoder.EncodeAll(*text, nil)
	}
	parts := max(1, (len(body)+partBytes-1)/partBytes)
	messages := make([]*nats.Msg, parts)
	for i := range messages {
		m := &nats.Msg{Subject: subject, Header: nats.Header{
			formatHeader:  {format},
			copyHeader:    {sender},
			appliedHeader: {at.String()},
			nonceHeader:   {nonce},
		}}
		if parts > 1 {
			m.Header[nonceHeader] = []string{nonce + "." + strconv.Itoa(i+1)}
			m.Header[batchID] = []string{nonce}
			m.Header[batchSequence] = []string{strconv.Itoa(i + 1)}
			if i == parts-1 {
				m.Header[batchCommit] = []string{"1"}
			}
		}
		m.Data, body = body[:min(len(body), partBytes)], body[min(len(body), partBytes):]
		messages[i] = m
	}
	return messages, nil
}

// message is what a copy applies: one message, or all parts of one.
type message struct {
	applied // what the sender had applied
	copy    string
	nonce   string
	body    []byte
	parts   int
}

func (m *message) isBarrier() bool { return len(m.body) == 0 }

// join adds the next message of the stream to m; whole is true once m is.
// Its errors stop the copy: somebody else writes to the stream, or it has a gap.
func (m *message) join(header nats.Header, body []byte) (whole bool, err error) {
	if got := header.Get(formatHeader); got != format {
		return false, fmt.Errorf("its format is %q, and this version knows %q", got, format)
	}
	if m.applied, err = parseApplied(header.Get(appliedHeader)); err != nil {
		return false, err
	}
	m.copy = header.Get(copyHeader)
	id := header.Get(batchID)
	if id == "" {
		if m.parts > 0 {
			return false, fmt.Errorf("it stands between the parts of %s", m.nonce)
		}
		m.nonce, m.body = header.Get(nonceHeader), body
		return true, nil
	}
	m.parts++
	if header.Get(batchSequence) != strconv.Itoa(m.parts) || m.parts > 1 && id != m.nonce {
		return false, fmt.Errorf("it is part %s of %s where part %d of %s should be", header.Get(batchSequence), id, m.parts, m.nonce)
	}
	m.nonce, m.body = id, append(m.body, body...)
	return header.Get(batchCommit) != "", nil
}

// lines decodes the body.
func (m *message) lines() (lines []event.Line, err error) {
	if len(m.body) == 0 {
		return nil, nil
	}
	text, err := decoder.DecodeAll(m.body, nil)
	if err != nil {
		return nil, err
	}
	for len(text) > 0 {
		end := bytes.IndexByte(text, '\n')
		if end < 0 {
			return nil, fmt.Errorf("its last line has no end")
		}
		line, ok := event.ReadLine(text[:end:end])
		if !ok {
			return nil, fmt.Errorf("its event %d is not in the log's own form", len(lines)+1)
		}
		lines = append(lines, line)
		text = text[end+1:]
	}
	return lines, nil
}

// applied says what a copy has applied: everything up to a message of the
// stream, and what that gave.
type applied struct {
	Message uint64 `json:"message"`
	eventlog.Mark
}

func (a applied) String() string {
	return fmt.Sprintf("%d %d %08x", a.Message, a.Sequence, a.Checksum)
}

func parseApplied(text string) (a applied, err error) {
	fields := strings.Fields(text)
	if len(fields) != 3 {
		return a, fmt.Errorf("the header %s: %q is not a message, a sequence and a checksum", appliedHeader, text)
	}
	var sum uint64
	a.Message, err = strconv.ParseUint(fields[0], 10, 64)
	if err == nil {
		a.Sequence, err = event.ParseSequence(fields[1])
	}
	if err == nil {
		sum, err = strconv.ParseUint(fields[2], 16, 32)
	}
	a.Checksum = uint32(sum)
	return a, err
}

// nonces gives every message a name that no other has.
type nonces struct {
	prefix string
	count  *atomic.Uint64
}

func newNonces() nonces { return nonces{newName(), new(atomic.Uint64)} }

// newName returns a name that nothing else has.
func newName() string {
	var b [12]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

func (n nonces) next() string { return n.prefix + "-" + strconv.FormatUint(n.count.Add(1), 10) }
