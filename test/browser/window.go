package browser

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/heapprofiler"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/memory"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

const (
	actionLimit = 30 * time.Second // for anything that takes a moment
	pollEvery   = 20 * time.Millisecond
)

// Keys that are pressed by name.
const (
	Tab       = kb.Tab
	Enter     = kb.Enter
	Escape    = kb.Escape
	ArrowDown = kb.ArrowDown
)

// Window shows a page. Its methods end the test where they cannot do what they
// say; they belong to the test's goroutine.
type Window struct {
	t   testing.TB
	ctx context.Context

	mu       sync.Mutex
	expected []*regexp.Regexp // in the console
	console  []chromedp.ConsoleMessage
}

func open(t testing.TB, parent context.Context, url string, options ...chromedp.ContextOption) *Window {
	t.Helper()
	ctx, end := chromedp.NewContext(parent, options...)
	if err := chromedp.Do(ctx); err != nil { // without a limit, which would be the window's
		t.Fatalf("opening a window: %v", err)
	}
	w := &Window{t: t, ctx: ctx}
	messages := chromedp.Console(ctx)
	listened := make(chan struct{})
	go func() {
		defer close(listened)
		for message, err := range messages {
			if err != nil {
				return
			}
			w.mu.Lock()
			w.console = append(w.console, message)
			w.mu.Unlock()
		}
	}()
	t.Cleanup(func() {
		end()
		<-listened
		w.checkConsole()
	})
	w.do("opening "+url, chromedp.Navigate(url))
	return w
}

// Beside opens a page in another window of the same person.
func (w *Window) Beside(url string) *Window {
	w.t.Helper()
	return open(w.t, w.ctx, url)
}

func (w *Window) do(what string, action chromedp.Action[chromedp.Void]) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.ctx, actionLimit)
	defer cancel()
	if err := chromedp.Do(ctx, action); err != nil {
		w.t.Fatalf("%s: %v", what, err)
	}
}

// Eval returns the value of a JavaScript expression, or of the promise that it
// is.
func Eval[T any](w *Window, expression string) T {
	w.t.Helper()
	value, err := eval[T](w, expression)
	if err != nil {
		w.t.Fatalf("evaluating %s: %v", expression, err)
	}
	return value
}

func eval[T any](w *Window, expression string) (T, error) {
	ctx, cancel := context.WithTimeout(w.ctx, actionLimit)
	defer cancel()
	return chromedp.Run(ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
}

// Await waits until a JavaScript expression is true. what says what is awaited.
func (w *Window) Await(what, expression string) {
	w.t.Helper()
	deadline := time.Now().Add(actionLimit)
	for {
		is, err := eval[bool](w, "!!("+expression+")")
		if err == nil && is {
			return
		}
		if time.Now().After(deadline) {
			page, _ := eval[string](w, "document.body.innerText")
			w.t.Fatalf("the page does not show this: %s (%s, %v). It shows:\n%s", what, expression, err, page)
		}
		time.Sleep(pollEvery)
	}
}

// Press presses keys one after the other, as their names or characters.
func (w *Window) Press(keys string, modifiers ...chromedp.Modifier) {
	w.t.Helper()
	w.do("pressing "+keys, chromedp.KeyEvent(keys, chromedp.KeyModifiers(modifiers...)))
}

// PressCtrl presses a key with Ctrl.
func (w *Window) PressCtrl(key string) {
	w.t.Helper()
	w.Press(key, chromedp.ModifierCtrl)
}

// Type puts text where the focus is, all at once, as an input method does.
func (w *Window) Type(text string) {
	w.t.Helper()
	w.do("typing", chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, input.InsertText, input.InsertTextParams{Text: text})
		return err
	}))
}

// TabTo presses Tab until the focus is on what a CSS selector names.
func (w *Window) TabTo(selector string) {
	w.t.Helper()
	for range 200 {
		if Eval[bool](w, "document.activeElement.matches("+Quote(selector)+")") {
			return
		}
		w.Press(Tab)
	}
	w.t.Fatalf("the Tab key does not lead to %s", selector)
}

// Focus moves the focus to what a CSS selector names.
func (w *Window) Focus(selector string) {
	w.t.Helper()
	w.Await(selector, fmt.Sprintf("document.querySelector(%s)", Quote(selector)))
	Eval[bool](w, fmt.Sprintf("document.querySelector(%s).focus() ?? true", Quote(selector)))
}

// Reload loads the page again.
func (w *Window) Reload() {
	w.t.Helper()
	w.do("loading the page again", chromedp.Reload())
}

// Block lets requests fail whose URLs match a pattern, as URLPattern has them.
func (w *Window) Block(pattern string) {
	w.t.Helper()
	w.do("blocking "+pattern, chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		if _, err := cdp.Call(ctx, t, network.Enable, network.EnableParams{}); err != nil {
			return err
		}
		_, err := cdp.Call(ctx, t, network.SetBlockedURLs, network.SetBlockedURLsParams{URLPatterns: []*network.BlockPattern{{URLPattern: pattern, Block: true}}})
		return err
	}))
}

// Resize makes the window as large as a device's, in CSS pixels.
func (w *Window) Resize(width, height int64) {
	w.t.Helper()
	w.do("resizing", chromedp.EmulateViewport(width, height))
}

// Prefer sets a media feature, such as prefers-color-scheme.
func (w *Window) Prefer(feature, value string) {
	w.t.Helper()
	w.do("preferring "+value, chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: feature, Value: value}},
		})
		return err
	}))
}

// Screenshot returns the window as a PNG. With SCREENSHOTS=folder it is also
// kept there under name.
func (w *Window) Screenshot(name string) []byte {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.ctx, actionLimit)
	defer cancel()
	image, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
	if err != nil {
		w.t.Fatalf("taking a screenshot: %v", err)
	}
	if dir := os.Getenv("SCREENSHOTS"); dir != "" {
		if err := os.WriteFile(filepath.Join(dir, name+".png"), image, 0o644); err != nil {
			w.t.Error(err)
		}
	}
	return image
}

// Usage is what a page holds.
type Usage struct {
	Heap  float64 // bytes of JavaScript
	Nodes int64   // of documents
}

// Usage returns what the page holds, once its garbage is collected.
func (w *Window) Usage() (u Usage) {
	w.t.Helper()
	w.do("asking what the page holds", chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		if _, err := cdp.Call(ctx, t, heapprofiler.CollectGarbage, cdp.Empty{}); err != nil {
			return err
		}
		heap, err := cdp.Call(ctx, t, runtime.GetHeapUsage, cdp.Empty{})
		if err != nil {
			return err
		}
		counters, err := cdp.Call(ctx, t, memory.GetDOMCounters, cdp.Empty{})
		if err != nil {
			return err
		}
		u = Usage{heap.UsedSize, counters.Nodes}
		return nil
	}))
	return u
}

// Expect allows messages in the console that match a regular expression.
func (w *Window) Expect(pattern string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.expected = append(w.expected, regexp.MustCompile(pattern))
}

func (w *Window) checkConsole() {
	w.mu.Lock()
	defer w.mu.Unlock()
next:
	for _, message := range w.console {
		for _, pattern := range w.expected {
			if pattern.MatchString(message.Text) {
				continue next
			}
		}
		w.t.Errorf("the page wrote to the console: %s (%s)", message, message.URL)
	}
}

// Quote returns text as a JavaScript string.
func Quote(text string) string {
	quoted, err := json.Marshal(text)
	if err != nil {
		panic(err) // no string fails
	}
	return string(quoted)
}
