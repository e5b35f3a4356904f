// Package pagecache keeps rendered answers from one change of the data to the
// next.
//
// Its law: an answer is never older than the last commit before it was asked
// for. It is entered before it is read from the database, and Clear is called
// after each commit; so what is found was read after the last one.
package pagecache

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"strings"
	"sync"

	"miniblog/internal/web"
)

// What a cache holds at most; beyond, it starts over.
const (
	maxPages = 512
	maxBytes = 32 << 20
)

// Page is an answer of JSON. It does not change once it was rendered.
type Page struct {
	body   []byte
	header http.Header
	etag   string
}

// NewPage returns a page with body and header. Its ETag says what is in the
// body, so it is the same on every replica.
func NewPage(body []byte, header http.Header) *Page {
	sum := sha256.Sum256(body)
	p := &Page{body: body, header: header, etag: `"` + hex.EncodeToString(sum[:16]) + `"`}
	p.header.Set("ETag", p.etag)
	p.header.Set("Cache-Control", "no-cache") // to be kept, and asked about each time
	return p
}

// Send answers r with the page: 304 if r says that it is known.
func (p *Page) Send(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	for name, values := range p.header {
		h[name] = values
	}
	if known(r.Header.Get("If-None-Match"), p.etag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	web.WriteBody(w, http.StatusOK, "application/json", p.body)
}

// known tells whether an If-None-Match names etag (RFC 9110, section 13.1.2).
func known(header, etag string) bool {
	for tag := range strings.SplitSeq(header, ",") {
		if tag = strings.TrimSpace(tag); tag == "*" || strings.TrimPrefix(tag, "W/") == etag {
			return true
		}
	}
	return false
}

// Cache holds pages by what they are asked for by. The zero value is ready for
// use.
type Cache[K comparable] struct {
	mu      sync.Mutex
	flights map[K]*flight
	bytes   int
}

// flight is a page on its way; done is closed when it, or err, is there.
type flight struct {
	done chan struct{}
	page *Page
	err  error
}

// Get returns the page for key, or renders it. Who asks for a page that is
// being rendered waits for that.
func (c *Cache[K]) Get(ctx context.Context, key K, render func(context.Context) (*Page, error)) (*Page, error) {
	f, mine := c.enter(key)
	if mine {
		c.fly(key, f, func() (*Page, error) { return render(context.WithoutCancel(ctx)) }) // for all who wait
	}
	select {
	case <-f.done:
		return f.page, f.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (c *Cache[K]) enter(key K) (f *flight, mine bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f, found := c.flights[key]; found {
		return f, false
	}
	if c.flights == nil || len(c.flights) >= maxPages || c.bytes > maxBytes {
		c.flights, c.bytes = make(map[K]*flight), 0
	}
	f = &flight{done: make(chan struct{})}
	c.flights[key] = f
	return f, true
}

// fly renders; those who wait are let go even if that panics.
func (c *Cache[K]) fly(key K, f *flight, render func() (*Page, error)) {
	f.err = errors.New("the page could not be rendered")
	defer close(f.done)
	defer c.landed(key, f)
	f.page, f.err = render()
}

// landed counts what f holds, if it is still of use; an error is forgotten.
func (c *Cache[K]) landed(key K, f *flight) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.flights[key] != f:
	case f.err != nil:
		delete(c.flights, key)
	default:
		c.bytes += len(f.page.body)
	}
}

// Clear forgets all pages.
func (c *Cache[K]) Clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.flights, c.bytes = nil, 0
}
