package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// bench owns the processes that it measures, the folder of their binaries and
// data, and what has been measured.
type bench struct {
	dir       string
	processes []*process
	addrs     map[string]string // of services, by name
	rows      []row
}

// services are what is built, in the order in which they are started.
var services = []string{"event-bus", "posts", "comments", "query", "moderation"}

// binary compiles a service as its image does, once.
func (b *bench) binary(ctx context.Context, name string) (string, error) {
	path := filepath.Join(b.dir, name)
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	if out, err := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", path, "./"+name).CombinedOutput(); err != nil {
		return "", fmt.Errorf("building %s: %w\n%s", name, err, out)
	}
	return path, nil
}

// process is a running service.
type process struct {
	name, addr string
	cmd        *exec.Cmd
	exited     chan struct{}
	took       time.Duration // from its start to ready
}

// freeAddr returns an address that nobody listens on.
func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// start runs a service on its data of that name, on the address it had before,
// and waits until it is ready.
func (b *bench) start(ctx context.Context, name, data string, env ...string) (*process, error) {
	addr := b.addrs[name+data]
	if addr == "" {
		var err error
		if addr, err = freeAddr(); err != nil {
			return nil, err
		}
		b.addrs[name+data] = addr
	}
	path, err := b.binary(ctx, name)
	if err != nil {
		return nil, err
	}
	return b.startCommand(ctx, name, addr, path, nil,
		append(env, "ADDR="+addr, "DATA_DIR="+b.data(name, data), "LOG_LEVEL=warn"))
}

// data returns the folder of a service's data of that name.
func (b *bench) data(name, data string) string { return filepath.Join(b.dir, "data", data, name) }

// reopen starts a service three times on its data; it returns the last one, and
// how long it took until ready, the median of them.
func (b *bench) reopen(ctx context.Context, name, data string, env ...string) (p *process, took time.Duration, err error) {
	var times []time.Duration
	for range 3 {
		if p != nil {
			p.stop()
		}
		if p, err = b.start(ctx, name, data, env...); err != nil {
			return nil, 0, err
		}
		times = append(times, p.took)
	}
	return p, median(times), nil
}

func (b *bench) startCommand(ctx context.Context, name, addr, path string, args, env []string) (*process, error) {
	p := &process{name: name, addr: addr, cmd: exec.Command(path, args...), exited: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stderr = os.Stderr
	begin := time.Now()
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	b.processes = append(b.processes, p)
	go func() { p.cmd.Wait(); close(p.exited) }()
	if err := p.waitReady(ctx); err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	p.took = time.Since(begin)
	return p, nil
}

// startBare starts the handler that answers "hello" to everything.
func (b *bench) startBare(ctx context.Context) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	return b.startCommand(ctx, "bare", addr, self, []string{"-bare", addr}, nil)
}

func (p *process) waitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute) // it may have to read a long log
	defer cancel()
	for {
		r, err := http.Get("http://" + p.addr + "/readyz")
		if err == nil {
			r.Body.Close()
			if r.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-p.exited:
			return errors.New("it exited")
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// stop ends a process and waits until it is gone.
func (p *process) stop() {
	p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.exited:
	case <-time.After(12 * time.Second):
		p.cmd.Process.Kill()
		<-p.exited
	}
}

// stop ends a process that is measured no more.
func (b *bench) stop(p *process) {
	p.stop()
	b.processes = slices.DeleteFunc(b.processes, func(other *process) bool { return other == p })
}

// stopAll ends everything that was started, the last first.
func (b *bench) stopAll() {
	for i := len(b.processes) - 1; i >= 0; i-- {
		b.processes[i].stop()
	}
	b.processes = nil
}

// memory returns the process's resident memory now and at its highest, in MB
// (proc_pid_status(5)); 0 where there is no /proc.
func (p *process) memory() (now, highest float64) {
	status, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(p.cmd.Process.Pid), "status"))
	if err != nil {
		return 0, 0
	}
	for line := range strings.Lines(string(status)) {
		var kb float64
		if _, err := fmt.Sscanf(line, "VmRSS: %f", &kb); err == nil {
			now = kb / 1000
		}
		if _, err := fmt.Sscanf(line, "VmHWM: %f", &kb); err == nil {
			highest = kb / 1000
		}
	}
	return now, highest
}

// watchMemory looks at the resident memory until the function that it returns
// is called, which gives the highest that was seen, in MB.
func (p *process) watchMemory() (stop func() float64) {
	done, highest := make(chan struct{}), make(chan float64)
	go func() {
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for most := 0.0; ; {
			now, _ := p.memory()
			most = max(most, now)
			select {
			case <-tick.C:
			case <-done:
				highest <- most
				return
			}
		}
	}()
	return func() float64 { close(done); return <-highest }
}

// noSubscribers returns the setting of a bus that pushes to nobody.
func noSubscribers(dir string) string {
	path := filepath.Join(dir, "no-subscribers.json")
	if err := os.WriteFile(path, []byte("[]\n"), 0o644); err != nil {
		panic(err)
	}
	return "SUBSCRIBERS_FILE=" + path
}
