// Package service runs a service: configuration, logs, start, readiness and
// graceful stop.
//
// Its law: a service stops only when asked to or when it cannot go on; a stop
// cuts no request off; and a wrong configuration stops the start with a sentence
// for each value that is wrong.
package service

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"miniblog/internal/web"
)

// How long a stop may take: first connections that are kept alive get a last
// answer, then what still runs may finish. Together under the 10 s that are
// promised, and under the 5 s of a local run for anything but a stuck request.
const (
	lameDuck   = time.Second
	drainGrace = 100 * time.Millisecond // for the connections accepted last to send their request
	stopLimit  = 8 * time.Second
)

// Service is what a service's open function builds. Everything but Routes is
// optional.
type Service struct {
	// Routes are the service's own: patterns of http.ServeMux and who answers.
	Routes map[string]web.Handler
	// Origins are the pages of other origins that a browser may call us from.
	Origins []string
	// Ready returns nil once the service is ready, and else what it waits for.
	Ready func() error
	// Background functions run beside the server until their context ends, after
	// the last answer. An error of one stops the service.
	Background []func(context.Context) error
	// Close gives back what open took; called when nothing runs any more.
	Close func() error
}

// Open builds a service from its configuration. The context ends when the
// service begins to stop: streams and waits hang on it.
type Open func(ctx context.Context, env *Env) (*Service, error)

// Main runs the service until SIGINT or SIGTERM and exits: 0 after a clean
// stop, 1 after an error. With the argument "ready" it asks the one that runs
// already, and exits with 0 if that is ready.
func Main(name, defaultAddr string, open Open) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	failed := "cannot run"
	var err error
	if len(os.Args) == 2 && os.Args[1] == "ready" {
		failed = "is not ready"
		err = askReady(ctx, NewEnv(os.LookupEnv).String("ADDR", defaultAddr))
	} else {
		err = Run(ctx, name, defaultAddr, os.LookupEnv, open, nil)
	}
	if err != nil {
		for _, line := range unjoin(err) {
			fmt.Fprintf(os.Stderr, "%s %s: %v\n", name, failed, line)
		}
		os.Exit(1)
	}
}

// unjoin returns the errors of errors.Join one by one.
func unjoin(err error) (all []error) {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []error{err}
	}
	for _, err := range joined.Unwrap() {
		all = append(all, unjoin(err)...)
	}
	return all
}

// Run runs the service until ctx ends and everything has stopped. listening,
// if not nil, is called with the address once connections are accepted.
func Run(ctx context.Context, name, defaultAddr string, lookup func(string) (string, bool), open Open, listening func(net.Addr)) (err error) {
	env := NewEnv(lookup)
	log := env.logger(name, os.Stderr)
	slog.SetDefault(log)
	addr := env.String("ADDR", defaultAddr)
	if _, _, err := net.SplitHostPort(addr); err != nil {
		env.fail("ADDR", addr, "must be a host and a port, such as localhost:4000 or :4000")
	}
	profiles := env.String("PPROF_ADDR", "")

	running, stopStreams := context.WithCancel(ctx)
	defer stopStreams()
	svc, err := open(running, env)
	if err = errors.Join(env.Err(), err); err != nil {
		return err
	}
	if svc.Close != nil {
		defer func() { err = errors.Join(err, svc.Close()) }()
	}
	if ctx.Err() != nil {
		return nil // asked to stop meanwhile
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("%s is in use by another program: stop that one, or set ADDR to another address", addr)
	}
	if err != nil {
		return fmt.Errorf("ADDR=%q: %w", addr, err)
	}
	log.Info("listening", "addr", listener.Addr().String())
	if listening != nil {
		listening(listener.Addr())
	}

	// The server stops first: what it still answers may need the others.
	background := newGroup(context.WithoutCancel(ctx))
	for _, f := range svc.Background {
		background.Go(f)
	}
	if profiles != "" {
		background.Go(func(ctx context.Context) error { return serveProfiles(ctx, profiles) })
	}
	serving := newGroup(running)
	server := newServer(svc, log)
	serving.Go(func(ctx context.Context) error { return server.serve(ctx, listener) })
	select {
	case <-serving.ctx.Done():
	case <-background.ctx.Done(): // one of them failed
	}
	log.Info("stopping")
	stopStreams()
	err = serving.Wait()
	background.cancel(nil)
	err = errors.Join(err, background.Wait())
	log.Info("stopped")
	return err
}

// group runs functions that stop together: when the context ends, or when the
// first of them fails.
type group struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	wg     sync.WaitGroup
	once   sync.Once
	err    error
}

func newGroup(ctx context.Context) *group {
	ctx, cancel := context.WithCancelCause(ctx)
	return &group{ctx: ctx, cancel: cancel}
}

// Go runs f in a goroutine that Wait waits for.
func (g *group) Go(f func(context.Context) error) {
	g.wg.Go(func() {
		if err := f(g.ctx); err != nil && !errors.Is(err, context.Canceled) {
			g.once.Do(func() { g.err = err })
			g.cancel(err)
		}
	})
}

// Wait blocks until all functions have returned and gives the first error.
func (g *group) Wait() error {
	g.wg.Wait()
	g.cancel(nil)
	return g.err
}
