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

	"miniblog/internal/trace"
	"miniblog/internal/trace/otlp"
	"miniblog/internal/web"
)

// How long the parts of a stop may take: together less than the 10 s that are
// promised, and less than the 5 s of a local run unless a request is stuck.
// Background functions end within 2 s after them.
const (
	lameDuck     = time.Second             // for each kept connection to get a last answer, and to empty the listen queue
	drainGrace   = 100 * time.Millisecond  // for the connections accepted last to send their request
	requestGrace = 5500 * time.Millisecond // for what runs: a command waits up to 5 s for the bus
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
	// Alive returns an error once only a restart can help.
	Alive func() error
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
		env := NewEnv(os.LookupEnv)
		err = askReady(ctx, env.String("ADMIN_ADDR", env.String("ADDR", defaultAddr)))
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
	stopTraces, traced, traceErr := otlp.Start(name, env.String)
	defer stopTraces()
	if traced {
		log = slog.New(trace.LogHandler(log.Handler()))
		slog.SetDefault(log)
	}
	addrs := env.addresses(defaultAddr)

	running, stopStreams := context.WithCancel(ctx)
	defer stopStreams()
	svc, err := open(running, env)
	if err = errors.Join(env.Err(), traceErr, err); err != nil {
		return err
	}
	if svc.Close != nil {
		defer func() { err = errors.Join(err, svc.Close()) }()
	}
	if ctx.Err() != nil {
		return nil // asked to stop meanwhile
	}
	listener, err := listen(ctx, "ADDR", addrs.public)
	if err != nil {
		return err
	}
	server := newServer(svc, addrs, log)

	// The server stops first: what it still answers may need the others.
	background := newGroup(context.WithoutCancel(ctx))
	if addrs.admin != "" {
		admin, err := listen(ctx, "ADMIN_ADDR", addrs.admin)
		if err != nil {
			listener.Close()
			return err
		}
		background.Go(func(ctx context.Context) error { return server.serveAdmin(ctx, admin) })
	}
	background.Go(giveBack)
	log.Info("listening", "addr", listener.Addr().String())
	if listening != nil {
		listening(listener.Addr())
	}
	for _, f := range svc.Background {
		background.Go(f)
	}
	serving := newGroup(running)
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

// listen opens a listener at the address that the variable name holds.
func listen(ctx context.Context, name, addr string) (net.Listener, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("%s is in use by another program: stop that one, or set %s to another address", addr, name)
	case err != nil:
		return nil, fmt.Errorf("%s=%q: %w", name, addr, err)
	}
	return listener, nil
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
