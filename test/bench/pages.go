package main

import (
	"context"
	"fmt"
)

// posts measures creating posts and reading pages of them.
func (b *bench) posts(ctx context.Context, o options) error {
	bus, err := b.start(ctx, "event-bus", "posts", noSubscribers(b.dir))
	if err != nil {
		return err
	}
	posts, err := b.start(ctx, "posts", "posts", "EVENT_BUS_URL=http://"+bus.addr)
	if err != nil {
		return err
	}
	titles := newBlog(3)
	bodies := make([][]byte, 512)
	for i := range bodies {
		bodies[i] = fmt.Appendf(nil, `{"title":"%s"}`, titles.text(8))
	}
	l := load{
		url: "http://" + posts.addr + "/posts/create", contentType: "application/json", connections: 32, length: o.length,
		body: func(c, n int) []byte { return bodies[(c*31+n)%len(bodies)] },
	}
	got, bare, err := b.beside(ctx, l)
	if err != nil {
		return err
	}
	b.rate("create a post, durable, read-your-write, 32 connections", got, bare, 0.12)
	posts.stop()

	if bus, err = b.start(ctx, "event-bus", "pages", noSubscribers(b.dir)); err != nil {
		return err
	}
	if err := b.fill(ctx, bus, newBlog(4), 10_000*(1+3*commentsPerPost)); err != nil {
		return err
	}
	query, err := b.start(ctx, "query", "pages", "EVENT_BUS_URL=http://"+bus.addr)
	if err != nil {
		return err
	}
	l = load{url: "http://" + query.addr + "/posts?limit=20", connections: 64, length: o.length}
	if got, bare, err = b.beside(ctx, l); err != nil {
		return err
	}
	b.rate("GET /posts, 20 with comments out of 10,000, 64 connections", got, bare, 0.40)
	return nil
}
