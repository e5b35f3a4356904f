package api

import (
	"bytes"
	"context"
	"slices"
	"time"

	"miniblog/internal/wire"
)

// scanFirst blocks until there is something to send, f.want.wait at most, and
// returns the scan that stands there.
func (f *fetch) scanFirst(ctx context.Context) (*scan, error) {
	s := newScan(f.log, f.want)
	timeout := time.NewTimer(f.want.wait)
	defer timeout.Stop()
	for {
		if err := f.advance(s); err != nil {
			s.close()
			return nil, err
		}
		if s.ready() || !f.await(ctx, s.last, timeout) {
			break
		}
		s.last = f.log.Last()
	}
	f.begin(s.last)
	return s, nil
}

// sendLines answers with a line an event.
func (f *fetch) sendLines(ctx context.Context) error {
	s, err := f.scanFirst(ctx)
	if err != nil {
		return err
	}
	defer s.close()
	f.header.Set("Content-Type", wire.Lines)
	body := newBody(f.out, f.header, f.encoding)
	for s.ready() {
		if err := write(body, s.found.Text); err != nil {
			return cutOff(err)
		}
		if err := f.advance(s); err != nil {
			return cutOff(err)
		}
	}
	f.sent(s.passed)
	return cutOff(body.Close())
}

// sendArray answers with one JSON array, as the course's clients expect.
func (f *fetch) sendArray(ctx context.Context) error {
	s, err := f.scanFirst(ctx)
	if err != nil {
		return err
	}
	defer s.close()
	f.header.Set("Content-Type", wire.JSON)
	body := newBody(f.out, f.header, f.encoding)
	var slice []byte
	for before := byte('['); s.ready(); before = ',' {
		slice = append(slice[:0], before)
		for part := range slices.Chunk(s.found.Text[:len(s.found.Text)-1], sliceBytes) { // the last newline is no comma
			slice = append(slice, part...)
			newlinesToCommas(slice)
			if _, err := body.Write(slice); err != nil {
				return cutOff(err)
			}
			slice = slice[:0]
		}
		if err := f.advance(s); err != nil {
			return cutOff(err)
		}
	}
	end := "]\n"
	if slice == nil {
		end = "[]\n"
	}
	if _, err := body.Write([]byte(end)); err != nil {
		return cutOff(err)
	}
	f.sent(s.passed)
	return cutOff(body.Close())
}

func newlinesToCommas(lines []byte) {
	for {
		i := bytes.IndexByte(lines, '\n')
		if i < 0 {
			return
		}
		lines[i] = ','
		lines = lines[i+1:]
	}
}
