package api

import (
	"context"
	"fmt"
	"time"

	"miniblog/event-bus/eventlog"
	"miniblog/internal/event"
	"miniblog/internal/wire"
)

// keepAlive is how often a stream says that it is alive when nothing comes.
const keepAlive = 15 * time.Second

// flushEvery is the least time between two writes of a stream. What comes
// meanwhile goes in one write: with a thousand followers, writes are what costs.
const flushEvery = 20 * time.Millisecond

// sendStream answers with server-sent events: what is there, and then what comes,
// until the reader leaves, the limit is reached or the service stops.
func (f *fetch) sendStream(ctx context.Context) error {
	f.header.Set("Content-Type", wire.Stream)
	f.header.Set("X-Accel-Buffering", "no") // nginx must pass it on at once
	f.begin(f.log.Last())
	f.want.wait = keepAlive
	f.encoding = ""
	if err := f.out.Flush(); err != nil {
		return cutOff(err)
	}
	for f.want.limit > 0 && ctx.Err() == nil {
		s, err := f.scanFirst(ctx)
		if err != nil {
			return cutOff(err)
		}
		if !s.ready() {
			if _, err := f.out.Write([]byte(":\n\n")); err != nil {
				return cutOff(err)
			}
		}
		for s.ready() {
			if err := f.sendServerSent(s.found); err != nil {
				return cutOff(err)
			}
			if err := f.advance(s); err != nil {
				return cutOff(err)
			}
		}
		if err := f.out.Flush(); err != nil {
			return cutOff(err)
		}
		f.sent(s.passed)
		f.want.after, f.want.limit = s.passed, s.want.limit
		s.close()
		f.out.Hold(0)
		pause(ctx, flushEvery)
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// sendServerSent writes events as the HTML standard has them (section 9.2.5).
func (f *fetch) sendServerSent(b eventlog.Batch) error {
	var slice []byte
	for text := range b.Lines() {
		line, ok := event.ReadLine(text)
		if !ok {
			return fmt.Errorf("an event at or after %d is not in the log's own form", b.First)
		}
		slice = append(slice, "id: "...)
		slice = line.Sequence().Append(slice)
		slice = append(slice, "\ndata: "...)
		if len(slice)+len(text) > sliceBytes {
			if err := write(f.out, slice); err != nil {
				return err
			}
			if err := write(f.out, text); err != nil {
				return err
			}
			slice = slice[:0]
		} else {
			slice = append(slice, text...)
		}
		slice = append(slice, "\n\n"...)
	}
	return write(f.out, slice)
}
