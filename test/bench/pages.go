package main

import "context"

// pages measures reading pages of posts.
func (b *bench) pages(ctx context.Context, o options) error {
	bus, err := b.start(ctx, "event-bus", "pages", noSubscribers(b.dir))
	if err != nil {
		return err
	}
	if err := b.fill(ctx, bus, newBlog(4), 10_000*(1+3*commentsPerPost)); err != nil {
		return err
	}
	query, err := b.start(ctx, "query", "pages", "EVENT_BUS_URL=http://"+bus.addr)
	if err != nil {
		return err
	}
	got, bare, err := b.beside(ctx, load{url: "http://" + query.addr + "/posts?limit=20", connections: 64, length: o.length})
	if err != nil {
		return err
	}
	b.rate("GET /posts, 20 with comments out of 10,000, 64 connections", got, bare, 0.40)
	return nil
}
