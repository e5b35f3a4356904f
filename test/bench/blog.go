package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// running is the name of the data of a blog of which all six services run.
const running = "running"

// startBlog starts all six services as one blog.
func (b *bench) startBlog(ctx context.Context) error {
	subscribers, err := b.subscribers()
	if err != nil {
		return err
	}
	bus, err := b.start(ctx, "event-bus", running, subscribers)
	if err != nil {
		return err
	}
	return b.startServices(ctx, bus)
}

// subscribers returns the setting of a bus that pushes to moderation and comments,
// which are started later.
func (b *bench) subscribers() (string, error) {
	addrs := make(map[string]string)
	for _, name := range []string{"moderation", "comments"} {
		addr, err := freeAddr()
		if err != nil {
			return "", err
		}
		addrs[name], b.addrs[name+running] = addr, addr
	}
	text := fmt.Sprintf(`[{"name":"moderation","url":"http://%s/events","types":["CommentCreated"]},{"name":"comments","url":"http://%s/events","types":["CommentModerated"]}]`,
		addrs["moderation"], addrs["comments"])
	file := filepath.Join(b.dir, "subscribers.json")
	return "SUBSCRIBERS_FILE=" + file, os.WriteFile(file, []byte(text), 0o644)
}

// startServices starts all but the bus; each follows one of buses.
func (b *bench) startServices(ctx context.Context, buses ...*process) error {
	for i, name := range append(services[1:], "client") {
		bus := buses[i%len(buses)]
		if _, err := b.start(ctx, name, running, "EVENT_BUS_URL=http://"+bus.addr); err != nil {
			return err
		}
	}
	return nil
}

// idle measures what a service costs that does nothing.
func (b *bench) idle(ctx context.Context, o options) error {
	if err := b.startBlog(ctx); err != nil {
		return err
	}
	for _, p := range b.processes {
		now, _ := p.memory()
		b.bound("an idle "+p.name, fmt.Sprintf("%.0f MB, ready after %v", now, p.took.Round(time.Millisecond)), "≤ 30 MB, ≤ 200ms", now <= 30 && p.took <= 200*time.Millisecond)
	}
	return nil
}
