package bus

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"miniblog/internal/event"
	"miniblog/internal/wire"
)

// heartbeat is how often a bus that is followed says that it is there, at least. It
// is given up after a few of them (Client.silence): a connection may be dead
// without anybody having said so.
const heartbeat = time.Second

// followBuffer is how much a stream reads at once, in bytes. A longer event makes
// it larger.
const followBuffer = 64 << 10

// Stream is an answer of the bus that stays open. It belongs to one goroutine and
// must be closed.
type Stream struct {
	Log  string         // identifies the log
	Last event.Sequence // of the log when the bus answered

	at     Checkpoint
	resp   *http.Response
	buffer []byte // what was handed over, and then what is left of an unfinished line
	rest   []byte
	events []event.Event
	alive  *time.Timer // cancels the request when the bus is silent
	cancel context.CancelFunc
	c      *Client
}

// ErrNoFollow says that this bus does not know how to stay open: fetch from it.
var ErrNoFollow = errors.New("the event bus cannot be followed, only fetched from")

// Follow asks for the events after a checkpoint as they become durable, of the
// given types only, or of all if there are none. The events that the bus holds
// already should have been fetched: it ends the stream where what comes next is
// not in its memory.
func (c *Client) Follow(ctx context.Context, from Checkpoint, types []string) (*Stream, error) {
	ctx, cancel := context.WithCancel(ctx)
	s := &Stream{at: from, cancel: cancel, alive: time.AfterFunc(c.silence, cancel), c: c}
	query := from.query()
	query.Set(wire.Follow, heartbeat.String())
	if len(types) > 0 {
		query.Set(wire.Types, strings.Join(types, ","))
	}
	err := s.open(c.get(ctx, query, "identity"))
	if err != nil {
		return nil, s.fail(err)
	}
	return s, nil
}

func (s *Stream) open(resp *http.Response, err error) error {
	if err != nil {
		return err
	}
	s.resp = resp
	if resp.Header.Get(wire.FollowHeader) == "" {
		return ErrNoFollow
	}
	s.Log = resp.Header.Get(wire.LogHeader)
	if s.Last, err = event.ParseSequence(resp.Header.Get(wire.LastHeader)); err != nil {
		return fmt.Errorf("header %s: %w", wire.LastHeader, err)
	}
	return nil
}

// fail closes the stream and returns why it ends.
func (s *Stream) fail(err error) error {
	if !s.alive.Stop() && errors.Is(err, context.Canceled) {
		s.c.http.CloseIdleConnections() // they may be as dead
		err = fmt.Errorf("the event bus was silent for %v", s.c.silence)
	}
	s.Close()
	return err
}

// Close ends the request.
func (s *Stream) Close() {
	s.alive.Stop()
	s.cancel()
	if s.resp != nil {
		s.resp.Body.Close()
	}
}

// Next blocks until the bus has said something. It returns the events that came,
// if any, and how far the reader is after them. The events and their Data are the
// caller's until the next call. After an error the stream is closed; io.EOF says
// that what comes next has to be fetched.
func (s *Stream) Next() ([]event.Event, Checkpoint, error) {
	lines, err := s.read()
	if err != nil {
		return nil, s.at, s.fail(err)
	}
	s.events = s.events[:0]
	for len(lines) > 0 {
		line, more, _ := bytes.Cut(lines, []byte("\n"))
		lines = more
		if err := s.take(line); err != nil {
			return nil, s.at, s.fail(err)
		}
	}
	return s.events, s.at, nil
}

// take adds what a line says: an event or a mark.
func (s *Stream) take(line []byte) error {
	if bytes.HasPrefix(line, []byte(wire.MarkPrefix)) {
		var mark wire.Mark
		if err := json.Unmarshal(line, &mark); err != nil {
			return fmt.Errorf("a mark after event %d does not decode: %w", s.at.Sequence, err)
		}
		if mark.Passed > s.at.Sequence {
			s.at = Checkpoint{mark.Passed, mark.ID}
		}
		return nil
	}
	e, err := event.ParseLine(line)
	if err != nil {
		return fmt.Errorf("an event after %d does not decode: %w", s.at.Sequence, err)
	}
	if e.Sequence <= s.at.Sequence {
		return fmt.Errorf("the event bus sent event %d after %d", e.Sequence, s.at.Sequence)
	}
	s.events = append(s.events, e)
	s.at = Checkpoint{e.Sequence, e.ID}
	return nil
}

// read returns whole lines: all that is there, or else the next that come.
func (s *Stream) read() (lines []byte, err error) {
	if cap(s.buffer) != followBuffer && len(s.rest) < followBuffer { // at first, and after a long line
		s.buffer = append(make([]byte, 0, followBuffer), s.rest...)
	} else {
		s.buffer = append(s.buffer[:0], s.rest...)
	}
	for {
		if len(s.buffer) == cap(s.buffer) {
			if len(s.buffer) > longestLine {
				return nil, fmt.Errorf("an event after %d is longer than %d bytes", s.at.Sequence, longestLine)
			}
			s.buffer = append(make([]byte, 0, 2*cap(s.buffer)), s.buffer...)
		}
		start := len(s.buffer)
		n, err := s.resp.Body.Read(s.buffer[start:cap(s.buffer)])
		s.buffer = s.buffer[:start+n]
		if n > 0 {
			s.alive.Reset(s.c.silence)
		}
		if end := start + bytes.LastIndexByte(s.buffer[start:], '\n') + 1; end > start {
			s.rest = s.buffer[end:]
			return s.buffer[:end], nil
		}
		switch {
		case err == io.EOF && len(s.buffer) > 0:
			return nil, fmt.Errorf("the answer of the event bus ends in the middle of an event after %d", s.at.Sequence)
		case err != nil:
			s.rest = nil
			return nil, err
		}
	}
}
