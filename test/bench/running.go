package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"miniblog/internal/event"
)

// everything measures the blog as its users have it: all six services run and
// follow the log during every figure.
func (b *bench) everything(ctx context.Context, o options) error {
	if err := b.startBlog(ctx); err != nil {
		return err
	}
	bus := b.processes[0]
	if err := b.publishingToAll(ctx, bus, o); err != nil {
		return err
	}
	titles := newBlog(3)
	bodies := make([][]byte, 512)
	for i := range bodies {
		bodies[i] = fmt.Appendf(nil, `{"title":"%s"}`, titles.text(8))
	}
	got, bare, err := b.beside(ctx, load{
		url: "http://" + b.addrs["posts"+running] + "/posts/create", contentType: "application/json", connections: 32, length: o.length,
		body: func(c, n int) []byte { return bodies[(c*31+n)%len(bodies)] },
	})
	if err != nil {
		return err
	}
	b.rate("create a post, durable, read-your-write, 32 connections", got, bare, 0.20)
	if err := b.commenting(ctx, o); err != nil {
		return err
	}
	if err := waitSealed(ctx, b.data("event-bus", running)); err != nil {
		return err
	}
	select {
	case <-time.After(10 * time.Second): // a process gives memory back when it rests
	case <-ctx.Done():
		return ctx.Err()
	}
	for _, p := range b.processes {
		atMost := 30.0
		if p == bus {
			atMost = 64
		}
		now, _ := p.memory()
		b.bound("memory of "+p.name+" at rest after all this", fmt.Sprintf("%.0f MB", now), fmt.Sprintf("≤ %.0f MB", atMost), now <= atMost)
	}
	return nil
}

// unwanted is the prefix of the types of events that no service wants.
const unwanted = "Unwanted"

// publishingToAll measures publishing to a bus that all services follow, with
// events that none of them wants, and what following costs: the same to a bus
// that nobody follows.
func (b *bench) publishingToAll(ctx context.Context, bus *process, o options) error {
	syncs, err := syncRate(b.dir, o.length/2)
	if err != nil {
		return err
	}
	got, err := singles(bus, unwanted, 1, o.length).run(ctx)
	if err != nil {
		return err
	}
	b.againstSyncs("publish one event a request, durable, 1 connection", got, syncs, 0.75)
	for _, c := range []struct {
		connections int
		atLeast     float64
	}{{64, 0.50}, {256, 0.60}} {
		got, bare, err := b.beside(ctx, singles(bus, unwanted, c.connections, o.length))
		if err != nil {
			return err
		}
		b.rate(fmt.Sprintf("publish one event a request, durable, %d connections", c.connections), got, bare, c.atLeast)
	}
	alone, err := b.start(ctx, "event-bus", "unfollowed", noSubscribers(b.dir))
	if err != nil {
		return err
	}
	var followed, unfollowed measured
	for range 3 { // by turns, so that a machine that slows down slows both
		for _, side := range []struct {
			bus *process
			sum *measured
		}{{alone, &unfollowed}, {bus, &followed}} {
			got, err := singles(side.bus, unwanted, 64, o.length/2).run(ctx)
			if err != nil {
				return err
			}
			side.sum.requests += got.requests
			side.sum.elapsed += got.elapsed
		}
	}
	b.stop(alone)
	cost := 1 - followed.perSecond()/unfollowed.perSecond()
	b.rows = append(b.rows, row{what: "what following costs publishers of events that no service wants", figure: fmt.Sprintf("%.0f/s", followed.perSecond()),
		baseline: fmt.Sprintf("%.0f/s unfollowed", unfollowed.perSecond()), ratio: fmt.Sprintf("%+.0f %%", -100*cost), target: "≤ 5 %", ok: cost <= 0.05})
	wanted, bare, err := b.beside(ctx, singles(bus, event.PostCreated, 64, o.length))
	if err != nil {
		return err
	}
	b.rate("publish a PostCreated that three services apply, 64 connections", wanted, bare, 0)
	from := newBlog(2)
	from.prefix = unwanted
	inBatches, err := batches(bus, from, o.length).run(ctx)
	if err != nil {
		return err
	}
	rate := inBatches.perSecond() * batchEvents
	b.bound("publish in batches of 1,000, durable, 16 connections", fmt.Sprintf("%.0f events/s", rate), "≥ 600000 events/s", rate >= 600_000)
	return nil
}

// commenting measures how long a comment takes from its POST to being approved
// in query: alone, held against what it cannot do without, and with 200 other
// comments a second beside it.
func (b *bench) commenting(ctx context.Context, o options) error {
	comments, err := b.newTrips(ctx)
	if err != nil {
		return err
	}
	before, err := b.floor(ctx, o)
	if err != nil {
		return err
	}
	alone, err := comments.make(ctx, 300)
	if err != nil {
		return err
	}
	after, err := b.floor(ctx, o)
	if err != nil {
		return err
	}
	floor := (before + after) / 2
	others := b.newWriter()
	besideCtx, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- others.writeEvery(besideCtx, time.Second/200) }()
	busy, err := comments.make(ctx, 300)
	stop()
	if err := errors.Join(err, <-ended); err != nil {
		return err
	}
	b.times("a comment, from its POST to approved in query, p50", median(alone), floor, 2)
	b.times("the same beside 200 comments/s, p99", busy[len(busy)*99/100], floor, 5)
	return nil
}

// floor is what a comment cannot do without: three syncs and eight requests of
// one connection to the bare handler.
func (b *bench) floor(ctx context.Context, o options) (time.Duration, error) {
	syncs, err := syncRate(b.dir, o.length/4)
	if err != nil {
		return 0, err
	}
	bare, err := b.startBare(ctx)
	if err != nil {
		return 0, err
	}
	defer b.stop(bare)
	hello, err := load{url: "http://" + bare.addr + "/", connections: 1, length: o.length / 4}.run(ctx)
	return time.Duration(3*float64(time.Second)/syncs) + 8*hello.at(.5), err
}

// times adds a row that holds a time against the floor of the same run.
func (b *bench) times(what string, took, floor time.Duration, atMost float64) {
	ratio := float64(took) / float64(floor)
	b.rows = append(b.rows, row{what: what, figure: took.Round(10 * time.Microsecond).String(),
		baseline: fmt.Sprintf("%v for 3 syncs and 8 bare requests", floor.Round(10*time.Microsecond)),
		ratio:    fmt.Sprintf("%.1f", ratio), target: fmt.Sprintf("≤ %.0f", atMost), ok: ratio <= atMost})
}
