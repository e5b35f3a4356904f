package api

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/go-json-experiment/json"

	"miniblog/internal/wire"
)

// writeEvery is how long a follower waits after two writes that are no further
// apart. What comes meanwhile goes in one: under load, writes are what costs, here
// and there. Without a load nothing waits.
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
	told, wrote := f.want.after, time.Time{}
	for ctx.Err() == nil {
		select {
		case <-r.wake:
			behind, err := f.sendTail(t, r)
			if behind || err != nil {
				return cutOff(err)
			}
			if mark, ok := t.passed(r); ok {
				f.visit.Sent(mark.Passed)
			}
			if time.Since(wrote) < writeEvery {
				pause(ctx, writeEvery)
			}
			wrote = time.Now()
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

// sendTail writes all that there is for the reader.
func (f *fetch) sendTail(t *tail, r *tailReader) (behind bool, err error) {
	slice := slicePool.Get().(*[]byte)
	defer slicePool.Put(slice)
	for whole := true; ; {
		text, ok := t.take(r, *slice)
		if !ok && !whole {
			return true, errors.New("a follower fell behind within an event")
		}
		if !ok || len(text) == 0 {
			return !ok, f.out.Flush()
		}
		if _, err := f.out.Write(text); err != nil {
			return false, err
		}
		whole = text[len(text)-1] == '\n'
	}
}

// slicePool holds slices for those who are written to: one made for each event or
// two would be most of the bus's garbage.
var slicePool = sync.Pool{New: func() any { s := make([]byte, 0, sliceBytes); return &s }}

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
