package pagecache

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

func page(text string) *Page { return NewPage([]byte(text), http.Header{}) }

func TestManyMissesAreOneRendering(t *testing.T) {
	var cache Cache[string]
	var rendered atomic.Int32
	release := make(chan struct{})
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			p, err := cache.Get(t.Context(), "k", func(context.Context) (*Page, error) {
				rendered.Add(1)
				<-release
				return page("text"), nil
			})
			if err != nil || string(p.shared.Body) != "text" {
				t.Errorf("%+v, %v", p, err)
			}
		})
	}
	close(release)
	wg.Wait()
	if n := rendered.Load(); n != 1 {
		t.Errorf("rendered %d times", n)
	}
}

// TestPageReadBeforeAChangeIsNotServedAfterIt: a rendering that was under way
// at a commit may have read what was before.
func TestPageReadBeforeAChangeIsNotServedAfterIt(t *testing.T) {
	var cache Cache[string]
	reading, release := make(chan struct{}), make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		cache.Get(t.Context(), "k", func(context.Context) (*Page, error) {
			close(reading)
			<-release
			return page("old"), nil
		})
	}()
	<-reading
	cache.Clear()
	for range 2 {
		p, err := cache.Get(t.Context(), "k", func(context.Context) (*Page, error) { return page("new"), nil })
		if err != nil || string(p.shared.Body) != "new" {
			t.Fatalf("%+v, %v", p, err)
		}
		select {
		case <-done:
		default:
			close(release) // the old one lands after the new one
			<-done
		}
	}
}

func TestFailureIsNotKept(t *testing.T) {
	var cache Cache[string]
	failure := errors.New("the disk is away")
	if _, err := cache.Get(t.Context(), "k", func(context.Context) (*Page, error) { return nil, failure }); !errors.Is(err, failure) {
		t.Errorf("error %v", err)
	}
	func() {
		defer func() { recover() }()
		cache.Get(t.Context(), "k", func(context.Context) (*Page, error) { panic("a bug") })
	}()
	if p, err := cache.Get(t.Context(), "k", func(context.Context) (*Page, error) { return page("text"), nil }); err != nil || p == nil {
		t.Errorf("%+v, %v", p, err)
	}
}

func TestWhoLeavesDoesNotSpoilItForOthers(t *testing.T) {
	var cache Cache[string]
	ctx, cancel := context.WithCancel(t.Context())
	p, err := cache.Get(ctx, "k", func(ctx context.Context) (*Page, error) {
		cancel()
		return page("text"), ctx.Err()
	})
	if p == nil && !errors.Is(err, context.Canceled) {
		t.Errorf("%+v, %v", p, err)
	}
	if p, err := cache.Get(t.Context(), "k", func(context.Context) (*Page, error) { return page("rendered again"), nil }); err != nil || string(p.shared.Body) != "text" {
		t.Errorf("%+v, %v", p, err)
	}
}

func TestCacheIsBounded(t *testing.T) {
	var cache Cache[string]
	fill := func(key, text string) {
		if _, err := cache.Get(t.Context(), key, func(context.Context) (*Page, error) { return page(text), nil }); err != nil {
			t.Fatal(err)
		}
		if len(cache.entries) > maxPages || cache.bytes > maxBytes+len(text) {
			t.Fatalf("%d pages of %d bytes", len(cache.entries), cache.bytes)
		}
	}
	for i := range 3 * maxPages {
		fill(fmt.Sprint("small", i), "x")
	}
	large := strings.Repeat("x", maxBytes/8)
	for i := range 20 {
		fill(fmt.Sprint("large", i), large)
	}
}

func TestKnownPagesAreNotSentAgain(t *testing.T) {
	p := page("text")
	for header, known := range map[string]bool{"": false, `"x"`: false, p.etag: true, `"x" , W/` + p.etag: true, "*": true, p.etag[:5]: false} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("If-None-Match", header)
		w := httptest.NewRecorder()
		p.Send(w, r)
		if sent := w.Code == http.StatusOK && w.Body.String() == "text"; sent == known || known && (w.Code != http.StatusNotModified || w.Body.Len() != 0) {
			t.Errorf("If-None-Match: %s: %d %q", header, w.Code, w.Body)
		}
	}
}
