package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"

	"miniblog/internal/event"
)

// consoles is how many look at the bus's activity.
const consoles = 10

// looking measures what it costs publishers that the bus remembers what it does,
// and that consoles look at it: against a bus that remembers nothing, and against
// itself while nobody looks.
func (b *bench) looking(ctx context.Context, o options) error {
	plain, err := b.start(ctx, "event-bus", "remembering", noSubscribers(b.dir))
	if err != nil {
		return err
	}
	forgetful, err := b.startForgetful(ctx)
	if err != nil {
		return err
	}
	var nothing, nobody, looked measured
	turns := []func() error{
		func() error { return publishFor(ctx, forgetful, o, &nothing) },
		func() error { return publishFor(ctx, plain, o, &nobody) },
		func() error {
			leave, err := lookAt(ctx, plain)
			if err == nil {
				err = publishFor(ctx, plain, o, &looked)
			}
			return errors.Join(err, leave())
		},
	}
	for range 6 { // there and back, so that a machine that slows down slows all alike
		for i := range 2 * len(turns) {
			if err := turns[min(i, 2*len(turns)-1-i)](); err != nil {
				return err
			}
		}
	}
	b.cost("what remembering costs publishers while nobody looks, 32 connections", nobody, nothing, "remembers nothing", 0.02)
	b.cost(fmt.Sprintf("what %d readers of GET /activity cost publishers, 32 connections", consoles), looked, nobody, "nobody looks", 0.10)
	return nil
}

// publishFor publishes for a moment, and adds that to a sum.
func publishFor(ctx context.Context, bus *process, o options, sum *measured) error {
	got, err := singles(bus, event.PostCreated, 32, o.length/6).run(ctx)
	sum.requests += got.requests
	sum.elapsed += got.elapsed
	return err
}

// cost adds a row that holds a rate against what it is without something.
func (b *bench) cost(what string, with, without measured, baseline string, atMost float64) {
	cost := 1 - with.perSecond()/without.perSecond()
	b.rows = append(b.rows, row{what: what, figure: fmt.Sprintf("%.0f/s", with.perSecond()),
		baseline: fmt.Sprintf("%.0f/s, %s", without.perSecond(), baseline), ratio: fmt.Sprintf("%+.1f %%", -100*cost),
		target: fmt.Sprintf("≤ %.0f %%", 100*atMost), ok: cost <= atMost})
}

// lookAt lets consoles read the bus's activity until leave is called, which says
// whether all of them were told something.
func lookAt(ctx context.Context, bus *process) (leave func() error, err error) {
	ctx, cancel := context.WithCancel(ctx)
	var reading sync.WaitGroup
	told := make([]int64, consoles)
	leave = func() error {
		cancel()
		reading.Wait()
		for i, n := range told {
			if n == 0 {
				return fmt.Errorf("reader %d of /activity was told nothing", i)
			}
		}
		return nil
	}
	for i := range told {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+bus.addr+"/activity", nil)
		if err != nil {
			return leave, err
		}
		r, err := http.DefaultClient.Do(request)
		if err != nil {
			return leave, err
		}
		reading.Go(func() {
			defer r.Body.Close()
			told[i], _ = io.Copy(io.Discard, r.Body) // ends with ctx
		})
	}
	return leave, nil
}

// startForgetful starts a bus that was built without its recorder: a nil one
// ignores what it is told.
func (b *bench) startForgetful(ctx context.Context) (*process, error) {
	const file, with, without = "event-bus/main.go", "recorder := activity.New(log.local, dir)", "var recorder *activity.Recorder"
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	if bytes.Count(text, []byte(with)) != 1 {
		return nil, fmt.Errorf("%s does not have %q, which this replaces", file, with)
	}
	path, err := filepath.Abs(file)
	if err != nil {
		return nil, err
	}
	other := filepath.Join(b.dir, "forgetful.go")
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{path: other}})
	if err != nil {
		return nil, err
	}
	binary, list := filepath.Join(b.dir, "event-bus-forgetful"), filepath.Join(b.dir, "overlay.json")
	err = errors.Join(os.WriteFile(other, bytes.Replace(text, []byte(with), []byte(without), 1), 0o644), os.WriteFile(list, overlay, 0o644))
	if err != nil {
		return nil, err
	}
	if out, err := exec.CommandContext(ctx, "go", "build", "-trimpath", "-overlay", list, "-o", binary, "./event-bus").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("building the bus without its recorder: %w\n%s", err, out)
	}
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	return b.startCommand(ctx, "event-bus", addr, binary, nil,
		[]string{"ADDR=" + addr, "DATA_DIR=" + b.data("event-bus", "forgetful"), "LOG_LEVEL=warn", noSubscribers(b.dir)})
}
