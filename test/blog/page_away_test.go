package blog

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync/atomic"
	"testing"

	"miniblog/test/browser"
	"miniblog/test/harness"
)

func TestPageKeepsWhatWasTypedWhileTheBusIsAway(t *testing.T) {
	t.Parallel()
	blog := harness.StartBlog(t, harness.Config{})
	blog.MustPost(t, "Before")
	p := visit(t, browser.Start(t), blog)
	p.Expect("status of 503")
	p.awaitPost("Before")
	blog.Bus.Kill()
	p.publish("Meanwhile")
	p.comment("Before", "Meanwhile, too")
	forms := []struct{ what, form, field, text string }{
		{"title", `document.querySelector("form#new-post")`, "input", "Meanwhile"},
		{"comment", article("Before") + `.querySelector("form.new-comment")`, "textarea", "Meanwhile, too"},
	}
	value := func(form, field string) string { return fmt.Sprintf("%s.querySelector(%q).value", form, field) }
	for _, f := range forms {
		p.Await("why the "+f.what+" was not sent, and that it is kept",
			fmt.Sprintf("%s.textContent.includes('Your %s is kept')", f.form, f.what))
		p.Await("the "+f.what, value(f.form, f.field)+" === "+browser.Quote(f.text))
	}
	p.Reload()
	p.live()
	p.awaitPost("Before")
	for _, f := range forms {
		p.Await("after a reload, the "+f.what, value(f.form, f.field)+" === "+browser.Quote(f.text))
		p.Await("that it was not sent", f.form+".textContent.includes('not sent yet')")
	}
	blog.Bus.Start()
	blog.Bus.AwaitReady()
	for _, f := range forms {
		browser.Eval[bool](p.Window, fmt.Sprintf("%s.querySelector('button[type=submit]').focus() ?? true", f.form))
		p.Press(browser.Enter)
		p.Await("an empty form", value(f.form, f.field)+" === ''")
	}
	p.awaitPost("Meanwhile")
	p.awaitComment("Before", "approved", "Meanwhile, too")
	checkLog(t, blog, 2, 1)
}

func TestPageMakesOnePostWhenItsAnswerIsLost(t *testing.T) {
	t.Parallel()
	blog := harness.NewBlog(t, harness.Config{})
	cut := startCuttingProxy(t, blog.PostsURL)
	blog.Client.Setenv("POSTS_URL", cut.url)
	for _, process := range blog.Processes() {
		process.Start()
	}
	blog.AwaitReady()
	p := visit(t, browser.Start(t), blog)
	p.Expect("net::ERR_")
	cut.cuts.Store(true)
	p.publish("Once")
	p.Await("that the answer did not come", `document.querySelector("form#new-post").textContent.includes("Your title is kept")`)
	p.awaitPost("Once") // the post was made, and comes by the live stream
	cut.cuts.Store(false)
	p.Press(browser.Enter)
	p.Await("an empty form", `document.querySelector("form#new-post input").value === ""`)
	p.Await("one post", `document.querySelectorAll("article[data-post-id]").length === 1`)
	checkLog(t, blog, 1, 0)
}

// cuttingProxy loses the answers to POSTs while cuts is set. A browser may send
// a request again by itself, so one would not be enough.
type cuttingProxy struct {
	url  string
	cuts atomic.Bool
}

func startCuttingProxy(t *testing.T, target string) *cuttingProxy {
	t.Helper()
	to, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	p := &cuttingProxy{}
	server := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(to) },
		ModifyResponse: func(r *http.Response) error {
			if r.Request.Method == http.MethodPost && p.cuts.Load() {
				panic(http.ErrAbortHandler)
			}
			return nil
		},
	})
	t.Cleanup(func() { server.CloseClientConnections(); server.Close() })
	p.url = server.URL
	return p
}

func TestPageSaysWhenItIsNotConnectedAndCatchesUp(t *testing.T) {
	t.Parallel()
	blog := harness.StartBlog(t, harness.Config{})
	blog.MustPost(t, "Before")
	p := visit(t, browser.Start(t), blog)
	p.Expect("net::ERR_")
	p.awaitPost("Before")
	query := blog.Query.Copies[0]
	query.Kill()
	p.Await("that it is not connected", `document.querySelector("#connection[role=status]").dataset.state === "offline"`)
	p.Await("that it connects again", `document.querySelector("#connection").textContent.includes("reconnecting")`)
	post := blog.MustPost(t, "Meanwhile")
	blog.MustComment(t, post.ID, "Said meanwhile")
	query.Start()
	query.AwaitReady()
	p.live()
	p.awaitPost("Meanwhile")
	p.awaitComment("Meanwhile", "approved", "Said meanwhile")
	p.awaitPost("Before")
	p.Await("nothing twice", `document.querySelectorAll("article[data-post-id]").length === 2`)
}

// A page that slept while the log was replaced resumed in the other log, at the
// place where it had been in its own: it showed half of the posts, beside old ones.
func TestPageThatSleptWhileTheLogWasReplacedShowsTheNewOne(t *testing.T) {
	t.Parallel()
	const before, after = 3, 5
	blog := harness.NewBlog(t, harness.Config{})
	cable := harness.NewCable(t, blog.QueryURL)
	blog.Client.Setenv("QUERY_URL", cable.URL)
	for _, process := range blog.Processes() {
		process.Start()
	}
	blog.AwaitReady()
	for i := range before {
		blog.MustPost(t, fmt.Sprint("Old ", i))
	}
	p := visit(t, browser.Start(t), blog)
	p.Expect("net::ERR_")
	shows := func(posts int, title string) string {
		return fmt.Sprintf(`((titles) => titles.length === %d && titles.every((title) => title.startsWith("%s")))
			([...document.querySelectorAll("article[data-post-id] h3")].map((h) => h.textContent))`, posts, title)
	}
	p.Await("the posts of the log", shows(before, "Old"))
	cable.Lose()

	blog.Bus.Stop()
	blog.Bus.LoseData()
	blog.Bus.Start()
	blog.Bus.AwaitReady()
	// What comes now is news to whoever followed the old log, numbered as that was.
	harness.Eventually(t, limit, func() error {
		posts, err := blog.ListBlog(t.Context())
		if err == nil && len(posts) > 0 {
			err = fmt.Errorf("query still has %d posts of the old log", len(posts))
		}
		return err
	})
	for i := range after {
		blog.MustPost(t, fmt.Sprint("New ", i))
	}
	harness.Eventually(t, limit, func() error {
		posts, err := blog.ListBlog(t.Context())
		if err == nil && len(posts) != after {
			err = fmt.Errorf("query has %d posts", len(posts))
		}
		return err
	})
	cable.Restore()
	p.Await("the posts of the new log and no others", shows(after, "New"))
	p.live()
	blog.MustPost(t, "New and live")
	p.Await("what comes next", shows(after+1, "New"))
}
