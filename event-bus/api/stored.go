package api

import (
	"context"
	"strconv"
	"time"

	"miniblog/internal/event"
	"miniblog/internal/wire"
)

// sendStored answers with lines in zstd, which is how they are stored: what is on
// disk goes to the connection as it is. Nothing is decoded but a frame in which
// the answer begins or ends.
func (f *fetch) sendStored(ctx context.Context) error {
	f.awaitMore(ctx)
	last := f.log.Last()
	f.begin(last)
	frames, err := f.log.Frames(f.want.after, min(f.want.limit, uint64(last-min(last, f.want.after))), f.reserve)
	if err != nil {
		return err
	}
	defer frames.Close()
	f.out.Hold(frames.Held)
	f.header.Set("Content-Type", wire.Lines)
	f.header.Set("Content-Encoding", "zstd")
	f.header.Set("Content-Length", strconv.FormatInt(frames.Size, 10)) // without it there is no sendfile
	if _, err = frames.WriteTo(f.out); err != nil {
		return cutOff(err)
	}
	if last > f.want.after {
		f.sent(f.want.after + event.Sequence(min(f.want.limit, uint64(last-f.want.after))))
	}
	return nil
}

// awaitMore blocks until there is an event after f.want.after, f.want.wait at
// most.
func (f *fetch) awaitMore(ctx context.Context) {
	if f.want.wait == 0 || f.log.Last() > f.want.after {
		return
	}
	timeout := time.NewTimer(f.want.wait)
	defer timeout.Stop()
	f.await(ctx, f.want.after, timeout)
}

// await blocks until there is an event after q, and tells whether there is.
func (f *fetch) await(ctx context.Context, q event.Sequence, timeout *time.Timer) bool {
	select {
	case <-f.log.Beyond(q):
		return true
	case <-timeout.C:
	case <-ctx.Done():
	}
	return false
}
