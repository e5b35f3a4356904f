package blog

import (
	"fmt"
	"strings"
	"testing"

	"miniblog/test/browser"
	"miniblog/test/harness"
)

func TestPageLoadsOlderPostsAndMoreComments(t *testing.T) {
	t.Parallel()
	blog := harness.StartBlog(t, harness.Config{})
	long := blog.MustPost(t, "Post 0")
	for i := range 60 {
		blog.MustComment(t, long.ID, fmt.Sprintf("Comment %d.", i))
	}
	decided(t, blog.API, long.ID, 60)
	for i := 1; i <= 24; i++ {
		blog.MustPost(t, fmt.Sprintf("Post %d", i))
	}
	p := visit(t, browser.Start(t), blog)
	titles := `[...document.querySelectorAll("article h3")].map((h) => h.textContent).join()`
	want := func(newest, oldest int) string {
		var all []string
		for i := newest; i >= oldest; i-- {
			all = append(all, fmt.Sprintf("Post %d", i))
		}
		return strings.Join(all, ",")
	}
	p.Await("the newest 20 posts", titles+" === "+browser.Quote(want(24, 5)))
	p.press("Load older posts")
	p.Await("all 25 posts", titles+" === "+browser.Quote(want(24, 0)))
	p.Await("the focus on the first of them", `document.activeElement.querySelector("h3")?.textContent === "Post 4"`)
	p.Await("no more to load", `![...document.querySelectorAll("button")].some((b) => b.textContent.includes("Load older"))`)

	shown := comments("Post 0", "approved") + `.map((c) => c.textContent.trim()).join(" ")`
	texts := func(n int) string {
		var all []string
		for i := range n {
			all = append(all, fmt.Sprintf("Comment %d.", i))
		}
		return browser.Quote(strings.Join(all, " "))
	}
	p.Await("the first 50 comments", shown+" === "+texts(50))
	p.press("Load more comments (10)")
	p.Await("all 60 comments", shown+" === "+texts(60))
	blog.MustComment(t, long.ID, "Comment 60.")
	p.Await("the next one, live", shown+" === "+texts(61))
}

// press presses the button with a label by keyboard.
func (p page) press(label string) {
	button := fmt.Sprintf(`[...document.querySelectorAll("button")].find((b) => b.textContent === %s)`, browser.Quote(label))
	p.Await("the button "+label, button)
	browser.Eval[bool](p.Window, button+".focus() ?? true")
	p.Press(browser.Enter)
}

func TestPageFitsEveryScreenLightAndDark(t *testing.T) {
	t.Parallel()
	blog := harness.StartBlog(t, harness.Config{})
	for _, title := range []string{strings.Repeat("wide", 50), "Ein längerer Titel, der umbrochen wird, weil er nicht in eine Zeile passt", "عنوان من اليمين إلى اليسار", "Hello"} {
		post := blog.MustPost(t, title)
		blog.MustComment(t, post.ID, "A comment with a long word: "+strings.Repeat("o", 300))
		blog.MustComment(t, post.ID, "An orange")
		decided(t, blog.API, post.ID, 2)
	}
	p := visit(t, browser.Start(t), blog)
	p.awaitComment("Hello", "rejected", "rejected")
	for _, size := range []struct {
		name          string
		width, height int64
	}{{"desktop", 1280, 800}, {"phone", 390, 844}, {"small-phone", 320, 568}} {
		for _, scheme := range []string{"light", "dark"} {
			p.Resize(size.width, size.height)
			p.Prefer("prefers-color-scheme", scheme)
			p.Await("no need to scroll sideways", "document.documentElement.scrollWidth <= innerWidth && innerWidth === "+fmt.Sprint(size.width))
			p.Await(scheme+" colours", fmt.Sprintf(`((rgb) => (rgb[0] + rgb[1] + rgb[2] < 384) === %t)(
				getComputedStyle(document.documentElement).backgroundColor.match(/[\d.]+/g).map(Number))`, scheme == "dark"))
			if image := p.Screenshot(size.name + "-" + scheme); len(image) < 1000 {
				t.Errorf("the screenshot has %d bytes", len(image))
			}
		}
	}
}
