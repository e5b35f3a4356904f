// Package browser drives a real browser in tests.
//
// Its law: a window that says anything in its console that the test does not
// expect, a breach of the Content-Security-Policy above all, fails the test.
package browser

import (
	"context"
	"os"
	"os/exec"
	"testing"

	"github.com/chromedp/chromedp"
)

// names are what the programs are called, Debian's first.
var names = []string{"chromium", "chromium-browser", "google-chrome-stable", "google-chrome", "chrome", "headless-shell"}

// Browser is a browser process with a profile of its own, which ends with the
// test.
type Browser struct {
	t   testing.TB
	ctx context.Context
}

// Start starts a browser, see Path.
func Start(t testing.TB) *Browser {
	t.Helper()
	path := Path(t)
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path),
		chromedp.NoSandbox, // it needs rights that a container rarely has, and the page is our own
		chromedp.DisableGPU,
		chromedp.Flag("disable-component-update", true),
	)
	allocator, end := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(end)
	ctx, closeAll := chromedp.NewContext(allocator)
	t.Cleanup(closeAll)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("starting %s: %v", path, err)
	}
	return &Browser{t, ctx}
}

// Path returns the program of a browser. Where none is installed it skips the
// test; with CI=true that is a failure.
func Path(t testing.TB) string {
	t.Helper()
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	const missing = "NO BROWSER IS INSTALLED: the page is not tested. Install chromium (Debian: apt-get install chromium)."
	if os.Getenv("CI") == "true" {
		t.Fatal(missing)
	}
	t.Skip(missing)
	return ""
}

// Open opens a page in a window of a person who has nothing to do with those
// of the other windows: no storage and no cache is shared.
func (b *Browser) Open(url string) *Window {
	b.t.Helper()
	return open(b.t, b.ctx, url, chromedp.WithNewBrowserContext())
}
