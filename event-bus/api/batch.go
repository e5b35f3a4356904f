package api

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"time"

	"miniblog/internal/web"
	"miniblog/internal/wire"
)

// What large batches that are being read together may hold, and how long one
// may keep the others waiting. The first megabyte of each is a body like any
// other: it needs no reservation, and so who sends little holds nothing up.
const (
	batchMemory = 4 * wire.MaxBatch
	memoryWait  = 10 * time.Second // for others to give memory back
	perMegabyte = 4 * time.Second  // for each megabyte after the first to arrive
)

// readBatch reads the body of a batch. Memory is reserved as bytes arrive, and
// until release is called. Its errors are problems: 413, 408, 503, 400.
func (a *API) readBatch(w http.ResponseWriter, r *http.Request) (body []byte, release func(), err error) {
	reserved := int64(0)
	giveBack := func() {
		a.batchMemory.Release(reserved)
		batchBytes.Sub(float64(reserved))
	}
	defer func() {
		if err != nil {
			giveBack()
		}
	}()
	if r.ContentLength > wire.MaxBatch {
		return nil, nil, tooLarge()
	}
	rc := http.NewResponseController(w)
	limited := http.MaxBytesReader(w, r.Body, wire.MaxBatch)
	body = make([]byte, 0, web.MaxBody)
	for next := web.MaxBody; ; {
		if len(body) == cap(body) {
			size := min(2*cap(body), wire.MaxBatch+1) // one more, to see the end
			if err := a.reserve(r.Context(), int64(size-cap(body))); err != nil {
				return nil, nil, err
			}
			reserved += int64(size - cap(body))
			batchBytes.Add(float64(size - cap(body)))
			body = append(make([]byte, 0, size), body...)
		}
		if len(body) >= next {
			next = len(body) + 1<<20
			rc.SetReadDeadline(time.Now().Add(perMegabyte))
		}
		n, err := limited.Read(body[len(body):min(cap(body), next)])
		body = body[:len(body)+n]
		if err == io.EOF {
			rc.SetReadDeadline(time.Time{}) // else its expiry is taken for a lost connection
			return body, giveBack, nil
		}
		if err != nil {
			return nil, nil, unreadable(err)
		}
	}
}

// reserve waits until there is memory for n more bytes, memoryWait at most.
func (a *API) reserve(ctx context.Context, n int64) error {
	waiting, cancel := context.WithTimeout(ctx, memoryWait)
	defer cancel()
	err := a.batchMemory.Acquire(waiting, n)
	if err != nil && ctx.Err() == nil {
		return web.Unavailable(time.Second, err, "The event bus is reading too many large batches. Send the batch again in a moment, or in smaller ones.")
	}
	return err
}

// unreadable says why a batch did not arrive.
func unreadable(err error) error {
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		return tooLarge()
	}
	p := web.NewProblem(http.StatusBadRequest, "The body did not arrive whole.")
	if errors.Is(err, os.ErrDeadlineExceeded) {
		p = web.NewProblem(http.StatusRequestTimeout, "The batch came too slowly: each megabyte after the first has %v. Send smaller batches.", perMegabyte)
	}
	p.Cause = err
	return p
}

func tooLarge() error {
	return web.NewProblem(http.StatusRequestEntityTooLarge, "The body is too large: it may have at most %d bytes.", wire.MaxBatch)
}
