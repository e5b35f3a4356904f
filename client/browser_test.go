package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/go-json-experiment/json"
)

// limit is how long anything in the browser may take.
const limit = time.Minute

// browser opens an empty page in a browser of its own. Without chromium the
// test is skipped, or fails where CI=true.
func browser(t *testing.T) context.Context {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		path, err = exec.LookPath("google-chrome")
	}
	if err != nil && os.Getenv("CI") == "true" {
		t.Fatal("there is no chromium here: install it, the page's own logic is checked in it")
	}
	if err != nil {
		t.Skip("SKIPPED: there is no chromium here, so the page's own logic is not checked; install it")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path), chromedp.UserDataDir(t.TempDir()), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.Flag("disable-component-update", true))
	ctx, cancel := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("starting %s: %v", path, err)
	}
	return ctx
}

// runCases runs the cases that a file returns and collects how they failed.
const runCases = `(async () => {
	const equal = (got, want) => {
		if (JSON.stringify(got) !== JSON.stringify(want)) throw new Error('got ' + JSON.stringify(got) + ', want ' + JSON.stringify(want));
	};
	const cases = await (async () => { FILE })();
	const failures = {};
	for (const [name, run] of Object.entries(cases)) {
		failures[name] = '';
		try { await run(); } catch (error) { failures[name] = error.stack || String(error); }
	}
	return failures;
})()`

// TestLogicOfThePage runs the cases in testdata, one file a module, on the
// modules as they are served.
func TestLogicOfThePage(t *testing.T) {
	files, err := filepath.Glob("testdata/*.js")
	if err != nil || len(files) == 0 {
		t.Fatal("no cases", err)
	}
	ctx := browser(t)
	url := start(t, nil)
	for _, path := range files {
		t.Run(filepath.Base(path), func(t *testing.T) {
			source, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(ctx, limit)
			defer cancel()
			if err := chromedp.Do(ctx, chromedp.Navigate(url+"/nothing")); err != nil { // a page without logic of its own
				t.Fatal(err)
			}
			failures, err := chromedp.Run(ctx, chromedp.Evaluate[map[string]string](
				strings.Replace(runCases, "FILE", string(source), 1), chromedp.EvalAwaitPromise))
			if err != nil || len(failures) == 0 {
				t.Fatalf("%d cases ran: %v", len(failures), err)
			}
			for name, failure := range failures {
				t.Run(name, func(t *testing.T) {
					if failure != "" {
						t.Error(failure)
					}
				})
			}
		})
	}
}

// TestPageShowsTextAsTextAndBreaksNoPolicy opens the whole page. A browser
// reports in its console whatever the policy forbids.
func TestPageShowsTextAsTextAndBreaksNoPolicy(t *testing.T) {
	const title = `<img src=x onerror="document.title='broken in'"> & <b>bold</b>`
	ctx := browser(t)
	services := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Access-Control-Allow-Origin", "*")
		if r.URL.Path == "/posts/live" {
			w.Header().Set("Content-Type", "text/event-stream")
			w.(http.Flusher).Flush()
			<-r.Context().Done()
			return
		}
		body, err := json.Marshal(map[string]any{"a": map[string]any{"id": "a", "title": title, "commentCount": 1,
			"comments": []map[string]string{{"id": "c", "content": title, "status": "approved"}}}})
		if err != nil {
			t.Error(err)
		}
		w.Write(body)
	}))
	defer services.Close()
	defer services.CloseClientConnections()
	url := start(t, map[string]string{"POSTS_URL": services.URL, "COMMENTS_URL": services.URL, "QUERY_URL": services.URL})

	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	messages := chromedp.Console(ctx)
	err := chromedp.Do(ctx, chromedp.Navigate(url), chromedp.WaitVisible(chromedp.CSS(`#connection[data-state="connected"]`)),
		chromedp.WaitVisible(chromedp.CSS(`article[data-post-id="a"] li[data-comment-id="c"][data-status="approved"]`)))
	if err != nil {
		t.Fatal(err)
	}
	shown, err := chromedp.Run(ctx, chromedp.Evaluate[[]string](`[document.querySelector('article h3').textContent,
		document.querySelector('article li').textContent, document.title, String(document.querySelectorAll('img, b').length)]`))
	if err != nil || !slices.Equal(shown, []string{title, title, "Miniblog", "0"}) {
		t.Errorf("the page shows %q (%v)", shown, err)
	}
	if err := chromedp.Do(ctx, chromedp.Evaluate[chromedp.Void](`console.log('done')`)); err != nil {
		t.Fatal(err)
	}
	for message, err := range messages {
		if err != nil {
			t.Fatal(err)
		}
		if message.Text == "done" {
			break
		}
		t.Errorf("the browser complains: %s", message)
	}
}
