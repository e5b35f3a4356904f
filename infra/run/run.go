package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// Stopping: first those who use the event bus, then the bus, so that nobody
// misses it. Together they stay below 5 s.
const (
	graceOfUsers = 3 * time.Second
	graceOfBus   = 1500 * time.Millisecond
)

// stillWaiting is how often a start that takes long says what it waits for.
const stillWaiting = 5 * time.Second

// config says what to run, and where.
type config struct {
	bin, data string
	shift     int
	out       *terminal
}

// run runs the blog until stop ends, or until one of its programs turns out to
// be unable to start. It returns when all processes have ended.
func run(stop, kill context.Context, c config) error {
	programs := blog(c.data, c.shift)
	if err := checkPorts(programs); err != nil {
		return err
	}
	if c.shift != 0 {
		if err := writeSubscribers(c.data, programs); err != nil {
			return fmt.Errorf("telling the event bus where its subscribers are: %w", err)
		}
	}
	stop, giveUp := context.WithCancel(stop)
	defer giveUp()
	busStop, stopBus := context.WithCancel(context.WithoutCancel(stop))
	defer stopBus()
	users := group{stop: stop, kill: kill, grace: graceOfUsers, giveUp: giveUp}
	bus := group{stop: busStop, kill: kill, grace: graceOfBus, giveUp: giveUp}

	processes := make([]*process, len(programs))
	for i, p := range programs {
		processes[i] = &process{program: p, path: filepath.Join(c.bin, p.name), out: c.out.lines(i, p.name), ready: make(chan struct{})}
	}
	bus.start(processes[:1])
	if awaitReady(stop, processes[:1], c.out) {
		users.start(processes[1:])
	}
	if awaitReady(stop, processes, c.out) {
		c.out.say("%s", table(processes))
	}
	<-stop.Done()
	users.running.Wait()
	stopBus()
	bus.running.Wait()
	c.out.say("Stopped.")
	return errors.Join(append(bus.errs, users.errs...)...)
}

// group is processes that stop together.
type group struct {
	stop, kill context.Context
	grace      time.Duration
	giveUp     context.CancelFunc // stops the blog

	running sync.WaitGroup
	mu      sync.Mutex
	errs    []error
}

// start keeps processes running until the group's stop.
func (g *group) start(processes []*process) {
	for _, p := range processes {
		p.grace = g.grace
		g.running.Go(func() {
			if err := p.keep(g.stop, g.kill); err != nil {
				g.mu.Lock()
				g.errs = append(g.errs, err)
				g.mu.Unlock()
				g.giveUp()
			}
		})
	}
}

// awaitReady waits until all processes are ready, and says now and then what
// it waits for. It returns false if ctx ends first.
func awaitReady(ctx context.Context, processes []*process, out *terminal) bool {
	patience := time.NewTicker(stillWaiting)
	defer patience.Stop()
	for _, p := range processes {
		for !p.wasReady() {
			select {
			case <-p.ready:
			case <-ctx.Done():
				return false
			case <-patience.C:
				waits := "it does not answer yet"
				if w := p.waits.Load(); w != nil && *w != "" {
					waits = *w
				}
				out.say("Waiting for %s: %s", p.name, waits)
			}
		}
	}
	return ctx.Err() == nil
}

// table says what runs where.
func table(processes []*process) string {
	var b strings.Builder
	page := processes[len(processes)-1]
	fmt.Fprintf(&b, "\nThe blog runs: open %s\n\n", page.url())
	for _, p := range processes {
		line := fmt.Sprintf("  %-*s  %s  process %-7d  %-25s  %s", nameWidth, p.name, p.url(), p.pid.Load(), p.does, p.data)
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	b.WriteString("\nCtrl-C stops it. \"make clean-data\" empties what it has stored.\n")
	return b.String()
}
