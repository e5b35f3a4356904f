package blog

import (
	"fmt"
	"strings"
	"testing"

	"miniblog/test/browser"
	"miniblog/test/harness"
)

// page is the blog's page in a window.
type page struct{ *browser.Window }

// visit opens the page in a window of its own and waits until it is live.
func visit(t *testing.T, b *browser.Browser, blog *harness.Blog) page {
	t.Helper()
	p := page{b.Open(blog.PageURL)}
	p.live()
	return p
}

func (p page) live() {
	p.Await("that it is connected", `document.querySelector("#connection").dataset.state === "connected"`)
}

// article is the JavaScript for the post with a title.
func article(title string) string {
	return fmt.Sprintf(`[...document.querySelectorAll("article[data-post-id]")].find((a) => a.querySelector("h3").textContent === %s)`, browser.Quote(title))
}

// comments is the JavaScript for the comments with a status on a post.
func comments(title, status string) string {
	return fmt.Sprintf(`[...%s.querySelectorAll("li[data-comment-id][data-status=%s]")]`, article(title), status)
}

// publish writes a post and sends it.
func (p page) publish(title string) {
	p.Focus("form#new-post input[name=title]")
	p.Type(title)
	p.Press(browser.Enter)
}

// comment writes a comment and sends it.
func (p page) comment(title, content string) {
	p.Await("the post "+title, article(title))
	browser.Eval[bool](p.Window, article(title)+`.querySelector("form.new-comment textarea[name=content]").focus() ?? true`)
	p.Type(content)
	p.PressCtrl(browser.Enter)
}

func (p page) awaitPost(title string) { p.Await("the post "+title, article(title)) }

// awaitComment waits for a comment that shows a text.
func (p page) awaitComment(title, status, text string) {
	p.Await(fmt.Sprintf("on %s, %s: %s", title, status, text),
		fmt.Sprintf("%s.some((c) => c.textContent.includes(%s))", comments(title, status), browser.Quote(text)))
}

func TestPageShowsEachChangeLiveInEveryWindow(t *testing.T) {
	t.Parallel()
	const title, secret = "First post", "quince-4711"
	blog := harness.StartBlog(t, harness.Config{})
	b := browser.Start(t)
	author, reader := visit(t, b, blog), visit(t, b, blog)
	beside := page{author.Beside(blog.PageURL)}

	author.publish(title)
	for _, window := range []page{author, beside, reader} {
		window.awaitPost(title)
	}
	author.Await("an empty form", `document.querySelector("form#new-post input[name=title]").value === ""`)

	blog.Moderation.Copies[0].Kill()
	author.comment(title, "What a fine apple")
	author.awaitComment(title, "pending", "What a fine apple")
	author.awaitComment(title, "pending", "Awaiting moderation")
	author.comment(title, "An orange and a "+secret)
	author.awaitComment(title, "pending", secret)
	reader.Await("two comments that wait", comments(title, "pending")+".length === 2")
	for _, text := range []string{"fine apple", secret} {
		if strings.Contains(everything(reader), text) {
			t.Errorf("a reader sees the text %q of a comment that was not approved", text)
		}
	}
	blog.Moderation.Copies[0].Start()
	for _, window := range []page{author, beside, reader} {
		window.awaitComment(title, "approved", "What a fine apple")
		window.awaitComment(title, "rejected", "This comment was rejected")
		if strings.Contains(everything(window), secret) {
			t.Errorf("the page shows the text of a rejected comment")
		}
	}
	reader.Reload()
	reader.awaitComment(title, "approved", "What a fine apple")
	reader.awaitComment(title, "rejected", "This comment was rejected")
}

// everything returns all that a page holds, shown or not.
func everything(p page) string {
	return browser.Eval[string](p.Window, `document.documentElement.outerHTML + JSON.stringify([{...localStorage}, {...sessionStorage}]) + [...document.querySelectorAll("input,textarea")].map((f) => f.value).join()`)
}

func TestPageWorksByKeyboardAlone(t *testing.T) {
	t.Parallel()
	const title = "form#new-post input[name=title]"
	blog := harness.StartBlog(t, harness.Config{})
	p := visit(t, browser.Start(t), blog)
	p.Expect("status of 422")
	p.TabTo(title)
	beside := func(text string) {
		t.Helper()
		p.Await("beside the field: "+text, fmt.Sprintf(`((f) => f.getAttribute("aria-invalid") === "true" &&
			(f.getAttribute("aria-describedby") ?? "").split(" ").some((id) => id && f.form.querySelector("#" + id).textContent.includes(%s)))(document.querySelector(%s))`,
			browser.Quote(text), browser.Quote(title)))
		p.Await("the focus in the field that is wrong", "document.activeElement.matches("+browser.Quote(title)+")")
	}
	p.Press(browser.Enter)
	beside("Write a title first.")
	p.Type(strings.Repeat("x", 201))
	p.Press(browser.Enter)
	beside("too long by 1 character")
	p.PressCtrl("a")
	p.Type("By hand")
	// What only the service finds wrong is said at the same place.
	browser.Eval[bool](p.Window, fmt.Sprintf(`((f) => { f.value = "a\u0000b"; return f.dispatchEvent(new Event("input", {bubbles: true})); })(document.querySelector(%s))`, browser.Quote(title)))
	p.Press(browser.Enter)
	beside("NUL")
	p.PressCtrl("a")
	p.Type("By hand")
	p.Press(browser.Enter)
	p.awaitPost("By hand")

	p.TabTo("form.new-comment textarea")
	p.Type("Also by hand")
	p.TabTo("form.new-comment button")
	p.Press(browser.Enter)
	p.awaitComment("By hand", "approved", "Also by hand")
	p.Await("that it is said aloud", `document.querySelector("#announcer[role=status]").textContent === "Your comment was approved."`)
	p.Await("a name for every field and button", `[...document.querySelectorAll("input,textarea,button")].every((e) => e.labels?.length || e.textContent.trim())`)
}
