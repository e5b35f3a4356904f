package console

import (
	"fmt"
	"os"
	"testing"

	"miniblog/test/browser"
	"miniblog/test/harness"
)

// TestScreenshots makes the pictures of the documents: with SCREENSHOTS=folder
// they are kept there.
func TestScreenshots(t *testing.T) {
	if os.Getenv("SCREENSHOTS") == "" {
		t.Skip("SCREENSHOTS names no folder to put them in")
	}
	blog := harness.StartBlog(t, harness.Config{})
	blog.Moderation.Copies[0].AwaitReady()
	post := blog.MustPost(t, "What an event does")
	var comment harness.Comment
	for i := range 3 {
		comment = blog.MustComment(t, post.ID, fmt.Sprintf("Comment %d: how long did you take?", i+1))
	}
	b := browser.Start(t)
	for name, shot := range map[string]struct {
		place, scheme, ready string
		width, height        int64
	}{
		"console":           {"", "light", `document.querySelectorAll("[data-side]").length >= 7`, 1280, 880},
		"console-dark":      {"", "dark", `document.querySelectorAll("[data-side]").length >= 7`, 1280, 880},
		"console-life":      {"#/life/comment/" + comment.ID, "light", `document.querySelectorAll(".step").length >= 9`, 1280, 1000},
		"console-life-dark": {"#/life/comment/" + comment.ID, "dark", `document.querySelectorAll(".step").length >= 9`, 1280, 1000},
		"console-events":    {"#/events/2", "light", `document.querySelector(".detail .json") && !document.querySelector(".coming")`, 1280, 800},
		"console-phone":     {"", "light", `document.querySelectorAll("[data-side]").length >= 7`, 360, 1100},
	} {
		c := look(t, b, blog.Bus, "")
		c.Prefer("prefers-color-scheme", shot.scheme)
		c.Resize(shot.width, shot.height)
		c.Await("the question", `document.querySelector(".tour .quiet")`)
		c.click(".tour .quiet")
		c.visit(shot.place)
		c.Await(name, shot.ready)
		c.Await("no list of rows that are still coming", `!document.querySelector(".coming")`)
		c.Screenshot(name)
	}
}
