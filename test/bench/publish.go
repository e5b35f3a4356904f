package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"miniblog/internal/event"
)

// publishing measures the bus alone: durable, one event a request and in batches.
func (b *bench) publishing(ctx context.Context, o options) error {
	bus, err := b.start(ctx, "event-bus", "publish", noSubscribers(b.dir))
	if err != nil {
		return err
	}
	syncs, err := syncRate(b.dir, o.length/2)
	if err != nil {
		return err
	}
	got, err := singles(bus, event.PostCreated, 1, o.length).run(ctx)
	if err != nil {
		return err
	}
	b.againstSyncs("publish one event a request, durable, 1 connection", got, syncs, 0.45)
	for _, c := range []struct {
		connections int
		atLeast     float64
	}{{32, 0.42}, {64, 0.48}, {256, 0.55}} {
		got, bare, err := b.beside(ctx, singles(bus, event.PostCreated, c.connections, o.length))
		if err != nil {
			return err
		}
		b.rate(fmt.Sprintf("publish one event a request, durable, %d connections", c.connections), got, bare, c.atLeast)
	}
	inBatches, err := batches(bus, newBlog(2), o.length).run(ctx)
	if err != nil {
		return err
	}
	rate := inBatches.perSecond() * batchEvents
	b.bound("publish in batches of 1,000, durable, 16 connections", fmt.Sprintf("%.0f events/s", rate), "≥ 600000 events/s", rate >= 600_000)
	return nil
}

// againstSyncs adds a row that compares a rate with what the disk syncs.
func (b *bench) againstSyncs(what string, got measured, syncs, atLeast float64) {
	ratio := got.perSecond() / syncs
	b.rows = append(b.rows, row{what: what, figure: got.String(), baseline: fmt.Sprintf("%.0f syncs/s of 4 KiB appended", syncs),
		ratio: fmt.Sprintf("%.2f", ratio), target: fmt.Sprintf("≥ %.2f", atLeast), ok: ratio >= atLeast})
}

// singles is a load that publishes one event of that type a request.
func singles(bus *process, eventType string, connections int, length time.Duration) load {
	return load{url: "http://" + bus.addr + "/events", contentType: "application/json",
		connections: connections, length: length, body: newBlog(1).singles(eventType, connections)}
}

const batchEvents = 1000

// batches is a load that publishes batchEvents events a request.
func batches(bus *process, from *blog, length time.Duration) load {
	const connections = 16
	return load{url: "http://" + bus.addr + "/events", contentType: "application/cloudevents-batch+json",
		connections: connections, length: length, body: from.batches(batchEvents, connections)}
}

// syncRate measures how often in a second this disk takes 4 KiB more of a file.
func syncRate(dir string, length time.Duration) (float64, error) {
	f, err := os.Create(filepath.Join(dir, "syncs"))
	if err != nil {
		return 0, err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	block := make([]byte, 4096)
	n := 0
	begin := time.Now()
	for time.Since(begin) < length {
		if _, err := f.Write(block); err != nil {
			return 0, err
		}
		if err := f.Sync(); err != nil {
			return 0, err
		}
		n++
	}
	return float64(n) / time.Since(begin).Seconds(), nil
}
