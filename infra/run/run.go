package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	neturl "net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// Stopping: first those who use the event bus, then the bus, so that nobody
// misses it, then the servers that it stores on. Without these it stays below 5 s.
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
	cluster   bool
	out       *terminal
}

// run runs the blog until stop ends, or until one of its programs turns out to
// be unable to start. It returns when all processes have ended.
func run(stop, kill context.Context, c config) error {
	b := newBlog(c)
	if err := checkPorts(b.listeners()); err != nil {
		return err
	}
	if err := b.writeFiles(); err != nil {
		return fmt.Errorf("writing what the programs read: %w", err)
	}
	stop, giveUp := context.WithCancel(stop)
	defer giveUp()
	var groups []*group
	var all []*process
	for i, stage := range b.stages() {
		g := newGroup(stop, kill, giveUp)
		g.grace = graceOfBus
		if i == len(b.stages())-1 {
			g.grace = graceOfUsers
		}
		for _, p := range stage {
			binary := cmp.Or(p.binary, p.name)
			g.processes = append(g.processes, &process{
				program: p, path: filepath.Join(c.bin, binary), grace: g.grace,
				out: c.out.lines(len(all)+len(g.processes), p.name), ready: make(chan struct{}),
			})
		}
		all = append(all, g.processes...)
		groups = append(groups, g)
	}
	if b.front != nil {
		if err := groups[1].relayAt(b.front.addr()); err != nil {
			return err
		}
	}
	ready := true
	for _, g := range groups {
		if ready {
			g.start()
			ready = awaitReady(stop, g.processes, c.out)
		}
	}
	if ready {
		c.out.say("%s", table(all, b.front))
	}
	<-stop.Done()
	var errs []error
	for _, g := range slices.Backward(groups) {
		g.stopAll()
		g.running.Wait()
		errs = append(errs, g.errs...)
	}
	c.out.say("Stopped.")
	return errors.Join(errs...)
}

// group is processes that start and stop together.
type group struct {
	processes  []*process
	relay      *relay // leads to them; may be nil
	grace      time.Duration
	stop, kill context.Context
	stopAll    context.CancelFunc
	giveUp     context.CancelFunc // stops the blog

	running sync.WaitGroup
	mu      sync.Mutex
	errs    []error
}

// newGroup returns a group that runs until its stopAll, whenever parent ends.
func newGroup(parent, kill context.Context, giveUp context.CancelFunc) *group {
	g := &group{kill: kill, giveUp: giveUp}
	g.stop, g.stopAll = context.WithCancel(context.WithoutCancel(parent))
	return g
}

// relayAt opens the address that leads to one of the processes.
func (g *group) relayAt(addr string) error {
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	g.relay = &relay{listener: listener, targets: g.processes}
	return nil
}

// start keeps the processes running until the group's stop.
func (g *group) start() {
	if g.relay != nil {
		g.running.Go(func() { g.relay.run(g.stop) })
	}
	for _, p := range g.processes {
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

// consoleURL returns where the event bus shows what it sees, with the token that
// it asks for, if that is set.
func consoleURL(processes []*process, front *program) string {
	url := processes[0].url()
	if front != nil {
		url = front.url()
	}
	if token := os.Getenv("CONSOLE_TOKEN"); token != "" {
		url += "/?token=" + neturl.QueryEscape(token)
	}
	return url
}

// table says what runs where.
func table(processes []*process, front *program) string {
	var b strings.Builder
	page := processes[len(processes)-1]
	fmt.Fprintf(&b, "\nThe blog runs: open %s\nWhat its events do is shown at %s\n\n", page.url(), consoleURL(processes, front))
	if front != nil {
		fmt.Fprintf(&b, "  %-*s  %s  %s\n", nameWidth, front.name, front.url(), front.does)
	}
	for _, p := range processes {
		line := fmt.Sprintf("  %-*s  %s  process %-7d  %-25s  %s", nameWidth, p.name, p.url(), p.pid.Load(), p.does, p.data)
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	b.WriteString("\nCtrl-C stops it. \"make clean-data\" empties what it has stored.\n")
	return b.String()
}
