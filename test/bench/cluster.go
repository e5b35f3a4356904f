package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"miniblog/event-bus/cluster/natstest"
)

// copyNames are the names of the data of the three buses.
var copyNames = []string{"cluster1", "cluster2", "cluster3"}

// cluster measures three buses on three NATS servers, with all services, beside the
// Go client of NATS, which publishes an event a message to a stream on the same servers.
func (b *bench) cluster(ctx context.Context, o options) error {
	servers, urls, err := b.startServers(ctx)
	if err != nil {
		return err
	}
	subscribers, err := b.subscribers()
	if err != nil {
		return err
	}
	env := []string{"NATS_URL=" + urls, subscribers}
	var buses []*process
	for _, name := range copyNames {
		bus, err := b.start(ctx, "event-bus", name, env...)
		if err != nil {
			return err
		}
		buses = append(buses, bus)
	}
	if err := b.startServices(ctx, buses...); err != nil {
		return err
	}
	for _, c := range []struct {
		connections int
		what        string
	}{{1, "time"}, {64, "rate"}} {
		before, err := publishWithClient(ctx, urls, c.connections, o.length/2)
		if err != nil {
			return err
		}
		got, err := publishSpread(ctx, buses, c.connections, o.length)
		if err != nil {
			return err
		}
		after, err := publishWithClient(ctx, urls, c.connections, o.length/2)
		if err != nil {
			return err
		}
		client := measured{requests: before.requests + after.requests, elapsed: before.elapsed + after.elapsed, waits: append(before.waits, after.waits...)}
		slices.Sort(client.waits)
		r := row{what: fmt.Sprintf("publish on a cluster, %d connections over three buses", c.connections), figure: got.String()}
		if c.what == "rate" {
			ratio := got.perSecond() / client.perSecond()
			r.baseline, r.ratio, r.target, r.ok = fmt.Sprintf("%.0f/s by the Go client of NATS", client.perSecond()), fmt.Sprintf("%.2f", ratio), "≥ 2", ratio >= 2
		} else {
			ratio := float64(got.at(.5)) / float64(client.at(.5))
			r.figure = fmt.Sprintf("p50 %v, p99 %v", got.at(.5).Round(10*time.Microsecond), got.at(.99).Round(10*time.Microsecond))
			r.baseline = fmt.Sprintf("p50 %v by the Go client of NATS", client.at(.5).Round(10*time.Microsecond))
			r.ratio, r.target, r.ok = fmt.Sprintf("%.2f", ratio), "≤ 2", ratio <= 2
		}
		b.rows = append(b.rows, r)
	}
	if err := b.copies(ctx, buses, env, o); err != nil {
		return err
	}
	return b.failing(ctx, servers, buses, o)
}

// copies measures what a long log costs in a cluster.
func (b *bench) copies(ctx context.Context, buses []*process, env []string, o options) error {
	from := newBlog(5)
	from.prefix = unwanted
	if err := b.fill(ctx, buses[0], from, o.events); err != nil {
		return err
	}
	late, err := b.start(ctx, "event-bus", "late", env...)
	if err != nil {
		return err
	}
	events, _, err := fetchAll(ctx, late.addr)
	if err != nil {
		return err
	}
	if events < o.events {
		return fmt.Errorf("the new copy was ready with %d events of %d", events, o.events)
	}
	b.bound(fmt.Sprintf("a new copy of the bus reads %d events", events), "ready after "+late.took.Round(time.Millisecond).String(), "≤ 10s", late.took <= 10*time.Second)
	for _, bus := range append(copyNames, "late") { // until then they are at work
		if err := waitSealed(ctx, b.data("event-bus", bus)); err != nil {
			return err
		}
	}
	zstd := forms[0] // one bus is held against the same
	got, err := zstd.readAll(ctx, late)
	if err != nil {
		return err
	}
	rate := float64(events) / got.took.Seconds()
	b.bound("that copy sends them to one reader, "+zstd.name, fmt.Sprintf("%.1f million/s (%.0f MB/s)", rate/1e6, float64(got.bytes)/1e6/got.took.Seconds()),
		fmt.Sprintf("≥ %.1f million/s", zstd.atLeast/1e6), rate >= zstd.atLeast)
	b.stop(late)
	return nil
}

// failing measures what publishers notice while a part of the cluster is gone.
func (b *bench) failing(ctx context.Context, servers, buses []*process, o options) error {
	for _, f := range []struct {
		what   string
		gone   *process
		signal syscall.Signal
		others []*process // whose publishers are looked at
		most   time.Duration
	}{
		{"a NATS server is killed", servers[0], syscall.SIGKILL, buses, 10 * time.Second},
		{"a NATS server is stopped in order", servers[1], syscall.SIGTERM, buses, 0},
		{"a bus is killed", buses[2], syscall.SIGKILL, buses[:2], 0},
	} {
		p := newProbes(ctx, f.others)
		time.Sleep(o.length / 4)
		if err := f.gone.cmd.Process.Signal(f.signal); err != nil {
			return err
		}
		<-f.gone.exited
		time.Sleep(o.length + f.most)
		refused, longest := p.stop()
		b.bound("publishing at the buses that are left while "+f.what, fmt.Sprintf("%d refused, none stored for %v at most", refused, longest.Round(time.Millisecond)),
			fmt.Sprintf("refused for ≤ %v", f.most), refused == 0 || longest <= f.most)
		if slices.Contains(servers, f.gone) {
			again := exec.Command(f.gone.cmd.Path, f.gone.cmd.Args[1:]...)
			if err := b.startServer(ctx, f.gone, again); err != nil {
				return err
			}
		}
	}
	return nil
}

// probes publish an event a moment at each of some buses.
type probes struct {
	cancel  context.CancelFunc
	done    sync.WaitGroup
	mu      sync.Mutex
	refused int
	longest time.Duration // between two answers that were good
}

func newProbes(ctx context.Context, buses []*process) *probes {
	p := &probes{}
	ctx, p.cancel = context.WithCancel(ctx)
	for _, bus := range buses {
		p.done.Go(func() {
			client := http.Client{Timeout: 6 * time.Second}
			last := time.Now()
			for ctx.Err() == nil {
				answer, err := client.Post("http://"+bus.addr+"/events", "application/json", strings.NewReader(`{"type":"Probe"}`))
				stored := err == nil && answer.StatusCode == http.StatusOK
				if err == nil {
					answer.Body.Close()
				}
				p.mu.Lock()
				if stored {
					p.longest = max(p.longest, time.Since(last))
					last = time.Now()
				} else {
					p.refused++
				}
				p.mu.Unlock()
				time.Sleep(10 * time.Millisecond)
			}
			p.mu.Lock()
			defer p.mu.Unlock()
			p.longest = max(p.longest, time.Since(last))
		})
	}
	return p
}

func (p *probes) stop() (refused int, longest time.Duration) {
	p.cancel()
	p.done.Wait()
	return p.refused, p.longest
}

// publishSpread publishes one event a request on connections that are spread over
// the buses.
func publishSpread(ctx context.Context, buses []*process, connections int, length time.Duration) (sum measured, err error) {
	parts, errs := make([]measured, len(buses)), make([]error, len(buses))
	var all sync.WaitGroup
	for i, bus := range buses {
		if share := (connections + len(buses) - 1 - i) / len(buses); share > 0 {
			all.Go(func() { parts[i], errs[i] = singles(bus, unwanted, share, length).run(ctx) })
		}
	}
	all.Wait()
	for _, m := range parts {
		sum.requests += m.requests
		sum.elapsed = max(sum.elapsed, m.elapsed)
		sum.waits = append(sum.waits, m.waits...)
	}
	slices.Sort(sum.waits)
	return sum, errors.Join(errs...)
}

// publishWithClient publishes one event a message to a stream of three replicas,
// each publisher the next one when the last is acknowledged.
func publishWithClient(ctx context.Context, urls string, publishers int, length time.Duration) (m measured, err error) {
	conn, err := nats.Connect(urls)
	if err != nil {
		return m, err
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		return m, err
	}
	const name = "bench"
	if _, err := js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{Name: name, Subjects: []string{name}, Replicas: 3, Storage: jetstream.FileStorage, MaxBytes: 1 << 30}); err != nil {
		return m, err
	}
	body := newBlog(1).singles(unwanted, publishers)
	start := time.Now().Add(warmup)
	end := start.Add(length)
	waits, errs := make([][]time.Duration, publishers), make([]error, publishers)
	var all sync.WaitGroup
	for i := range publishers {
		all.Go(func() {
			for n := 0; time.Now().Before(end) && errs[i] == nil; n++ {
				began := time.Now()
				_, errs[i] = js.Publish(ctx, name, bytes.Clone(body(i, n)))
				if began.After(start) {
					waits[i] = append(waits[i], time.Since(began))
				}
			}
		})
	}
	all.Wait()
	m.elapsed = time.Since(start)
	m.waits = slices.Concat(waits...)
	slices.Sort(m.waits)
	m.requests = len(m.waits)
	return m, errors.Join(errs...)
}

// startServers starts three NATS servers and returns what NATS_URL is set to.
func (b *bench) startServers(ctx context.Context) (servers []*process, urls string, err error) {
	out, err := exec.CommandContext(ctx, "go", "tool", "-n", "nats-server").Output()
	if err != nil {
		return nil, "", fmt.Errorf("building nats-server: %w", err)
	}
	var configs [3]natstest.Config
	var all []string
	for i := range configs {
		c := &configs[i]
		c.Name, c.Store, c.MaxStore = fmt.Sprintf("nats-%d", i+1), b.data("nats", fmt.Sprint(i+1)), "20GB"
		for _, addr := range []*string{&c.Client, &c.Monitor, &c.Route} {
			if *addr, err = freeAddr(); err != nil {
				return nil, "", err
			}
		}
		all = append(all, "nats://"+c.Client)
	}
	for i, c := range configs {
		for j, other := range configs {
			if j != i {
				c.Routes = append(c.Routes, other.Route)
			}
		}
		if err := os.MkdirAll(c.Store, 0o755); err != nil {
			return nil, "", err
		}
		file := filepath.Join(b.dir, c.Name+".conf")
		if err := os.WriteFile(file, []byte(c.String()), 0o644); err != nil {
			return nil, "", err
		}
		p := &process{name: c.Name, addr: c.Monitor}
		if err := b.launch(p, exec.Command(strings.TrimSpace(string(out)), "-c", file, "-l", file+".log")); err != nil {
			return nil, "", err
		}
		servers = append(servers, p)
	}
	for _, p := range servers {
		if err := p.waitHealthy(ctx); err != nil {
			return nil, "", err
		}
	}
	return servers, strings.Join(all, ","), nil
}

// startServer starts a server again and waits until it has what it missed.
func (b *bench) startServer(ctx context.Context, p *process, cmd *exec.Cmd) error {
	if err := b.launch(p, cmd); err != nil {
		return err
	}
	return p.waitHealthy(ctx)
}

// launch starts a command as the process p, which is stopped with the others.
func (b *bench) launch(p *process, cmd *exec.Cmd) error {
	p.cmd, p.exited = cmd, make(chan struct{})
	exited := p.exited
	if err := cmd.Start(); err != nil {
		return err
	}
	go func() { cmd.Wait(); close(exited) }()
	if !slices.Contains(b.processes, p) {
		b.processes = append(b.processes, p)
	}
	return nil
}

// waitHealthy waits for a NATS server.
func (p *process) waitHealthy(ctx context.Context) error {
	for began := time.Now(); time.Since(began) < time.Minute; {
		if r, err := http.Get("http://" + p.addr + "/healthz"); err == nil {
			var answer struct{ Status string }
			err = json.NewDecoder(r.Body).Decode(&answer)
			r.Body.Close()
			if err == nil && answer.Status == "ok" {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
	return fmt.Errorf("%s is not well after a minute", p.name)
}
