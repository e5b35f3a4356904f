package api

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/go-json-experiment/json"

	"miniblog/internal/wire"
)

// writeEvery is how long a follower waits after several events came at once. What
// comes meanwhile goes in one write: under load, writes are what costs, here and
// there. An event that comes alone delays nothing.
const writeEvery = time.Millisecond

// follow answers with lines of the wanted types as they become durable, and
// marks between them, until the reader leaves, falls so far behind that what it
// needs is not in memory, or the service stops. A reader who stalls holds one
// slice.
func (f *fetch) follow(ctx context.Context, t *tail) error {
	f.header.Set("Content-Type", wire.Lines)
	f.header.Set(wire.FollowHeader, f.want.follow.String())
	f.header.Set("X-Accel-Buffering", "no") // nginx must pass it on at once
	f.begin(f.log.Last())
	r := t.add(f.want.types, f.want.after)
	defer t.remove(r)
	if err := f.out.Flush(); err != nil {
		return cutOff(err)
	}
	tick := time.NewTicker(f.want.follow)
	defer tick.Stop()
	told := f.want.after
	for ctx.Err() == nil {
		select {
		case <-r.wake:
			events, behind, err := f.sendTail(t, r)
			if behind || err != nil {
				return cutOff(err)
			}
			if mark, ok := t.passed(r); ok {
				f.visit.Sent(mark.Passed)
			}
			if events > 1 {
				pause(ctx, writeEvery)
			}
		case <-tick.C:
			mark, ok := t.passed(r)
			if !ok {
				continue // what there is to send says that we are alive
			}
			if err := f.sendMark(mark); err != nil {
				return cutOff(err)
			}
			if mark.Passed > told {
				told = mark.Passed
				f.visit.Passed(told)
			}
		case <-ctx.Done():
		}
	}
	return nil
}

// sendTail writes all that there is for the reader, and returns how many events.
func (f *fetch) sendTail(t *tail, r *tailReader) (events int, behind bool, err error) {
	buffer := make([]byte, 0, 4<<10) // most often it is an event or two
	for whole := true; ; {
		text, ok := t.take(r, buffer)
		if !ok && !whole {
			return events, true, errors.New("a follower fell behind within an event")
		}
		if !ok || len(text) == 0 {
			return events, !ok, f.out.Flush()
		}
		if _, err := f.out.Write(text); err != nil {
			return events, false, err
		}
		events += bytes.Count(text, []byte("\n"))
		whole = text[len(text)-1] == '\n'
		if cap(buffer) < sliceBytes {
			buffer = make([]byte, 0, sliceBytes)
		}
	}
}

func (f *fetch) sendMark(mark wire.Mark) error {
	line, err := json.Marshal(mark)
	if err != nil {
		return err
	}
	if _, err := f.out.Write(append(line, '\n')); err != nil {
		return err
	}
	return f.out.Flush()
}
