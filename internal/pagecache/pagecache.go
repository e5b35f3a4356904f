// Package pagecache keeps rendered answers from one change of the data to the
// next.
//
// Its law: an answer is never older than the last commit before it was asked
// for. Its key is registered before the database is read, and Clear is called
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
	shared web.Shared
	header http.Header
	etag   string
}

// NewPage returns a page with body and header. Its ETag says what is in the
// body, so it is the same on every replica.
func NewPage(body []byte, header http.Header) *Page {
	sum := sha256.Sum256(body)
	p := &Page{shared: web.Shared{Body: body}, header: header, etag: `"` + hex.EncodeToString(sum[:16]) + `"`}
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
	p.shared.Write(w, "application/json")
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
	entries map[K]*entry
	bytes   int
}

// entry is a page, or one that is being rendered: done is closed when page or
// err is set.
type entry struct {
	done chan struct{}
	page *Page
	err  error
}

// Answer answers r with the page for key, which it renders if it is not here, once
// there is memory for most bytes. Requests for a page that is being rendered wait
// for that. Its error is render's, that there is no memory, or that r ended.
func (c *Cache[K]) Answer(w http.ResponseWriter, r *http.Request, key K, most int64, render func(context.Context) (*Page, error)) error {
	page, err := c.Get(r.Context(), key, func(ctx context.Context) (*Page, error) {
		if err := web.Reserve(w, r.WithContext(ctx), most); err != nil {
			return nil, err
		}
		return render(ctx)
	})
	if err == nil {
		page.Send(w, r)
	}
	return err
}

// Get returns the page for key, or renders it.
func (c *Cache[K]) Get(ctx context.Context, key K, render func(context.Context) (*Page, error)) (*Page, error) {
	e, added := c.enter(key)
	if added {
		c.render(key, e, func() (*Page, error) { return render(context.WithoutCancel(ctx)) }) // for all who wait
	}
	select {
	case <-e.done:
		return e.page, e.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (c *Cache[K]) enter(key K) (e *entry, added bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, found := c.entries[key]; found {
		return e, false
	}
	if c.entries == nil || len(c.entries) >= maxPages || c.bytes > maxBytes {
		c.entries, c.bytes = make(map[K]*entry), 0
	}
	e = &entry{done: make(chan struct{})}
	c.entries[key] = e
	return e, true
}

// render renders the page of e; those who wait are answered even if it panics.
func (c *Cache[K]) render(key K, e *entry, render func() (*Page, error)) {
	e.err = errors.New("the page could not be rendered")
	defer close(e.done)
	defer c.keep(key, e)
	e.page, e.err = render()
}

// keep counts the bytes of e, unless Clear has dropped it; an error is not kept.
func (c *Cache[K]) keep(key K, e *entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.entries[key] != e:
	case e.err != nil:
		delete(c.entries, key)
	default:
		c.bytes += cap(e.page.shared.Body)
	}
}

// Clear forgets all pages.
func (c *Cache[K]) Clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.entries, c.bytes = nil, 0
}
