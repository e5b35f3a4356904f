package main

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// relay leads each connection to one of some processes, as a Service of
// Kubernetes does: to one that is ready, each in its turn. A connection ends with
// its process, and whoever had it connects again.
type relay struct {
	listener net.Listener
	targets  []*process
	next     atomic.Uint32
}

// run relays until ctx ends. It returns when every connection has ended.
func (r *relay) run(ctx context.Context) {
	defer context.AfterFunc(ctx, func() { r.listener.Close() })()
	var connections sync.WaitGroup
	defer connections.Wait()
	for ctx.Err() == nil {
		conn, err := r.listener.Accept()
		if err == nil {
			connections.Go(func() { r.serve(ctx, conn) })
			continue
		}
		if errors.Is(err, net.ErrClosed) {
			return
		}
		select { // too many files are open, for example
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

func (r *relay) serve(ctx context.Context, client net.Conn) {
	defer client.Close()
	server := r.dial(ctx)
	if server == nil {
		return
	}
	defer server.Close()
	defer context.AfterFunc(ctx, func() {
		client.Close()
		server.Close()
	})()
	var both sync.WaitGroup
	both.Go(func() { forward(server, client) })
	both.Go(func() { forward(client, server) })
	both.Wait()
}

// forward copies what comes until it ends, and passes the end on.
func forward(to, from net.Conn) {
	_, err := io.Copy(to, from)
	if err != nil {
		from.Close()
		to.Close()
		return
	}
	to.(*net.TCPConn).CloseWrite()
}

// dial connects to a process, nil if none can be reached.
func (r *relay) dial(ctx context.Context) net.Conn {
	first := int(r.next.Add(1))
	for _, wantReady := range []bool{true, false} {
		for i := range r.targets {
			p := r.targets[(first+i)%len(r.targets)]
			if p.isReady.Load() != wantReady {
				continue
			}
			dialer := net.Dialer{Timeout: time.Second}
			if conn, err := dialer.DialContext(ctx, "tcp", p.addr()); err == nil {
				return conn
			}
		}
	}
	return nil
}
