package console

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"testing"

	"miniblog/test/browser"
	"miniblog/test/harness"
)

// node is the CSS selector of a card of the map.
func node(name string) string { return fmt.Sprintf("[data-node=%q]", name) }

func TestMapShowsAServiceThatJoinsAndThatItLeft(t *testing.T) {
	t.Parallel()
	blog := harness.StartBlog(t, harness.Config{})
	c := look(t, browser.Start(t), blog.Bus, "")
	for _, name := range []string{"follower posts", "follower comments", "follower query", "subscriber moderation", "subscriber comments"} {
		c.Await(name, fmt.Sprintf(`document.querySelector('%s[data-state="up"]')`, node(name)))
	}

	ctx, leave := context.WithCancel(t.Context())
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, blog.Bus.URL+"/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("User-Agent", "coffee-machine/3 (kitchen)")
	request.Header.Set("Accept", "text/event-stream")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	c.awaitText(node("follower coffee-machine"), "kitchen")
	c.Await("a line to it", `document.querySelectorAll(".lines .line").length === document.querySelectorAll("[data-side]").length`)
	leave()
	io.Copy(io.Discard, response.Body)
	c.Await("that it left", fmt.Sprintf(`document.querySelector('%s[data-state="gone"]')`, node("follower coffee-machine")))

	blog.MustPost(t, "Seen on the map")
	c.awaitText(node("publisher posts"), "1 seen")
	c.awaitText(".latest", "PostCreated")
}

// appearance is what the cards and lines of two subscribers look like; parts of
// colours are from 0 to 1.
type appearance struct {
	Down, Up       [3]float64 // the colours of the cards
	Line, LineOfUp string     // how the lines are dashed
}

// appearanceOf is the JavaScript for the appearance of two nodes.
const appearanceOf = `((down, up) => {
	const colour = (card) => {
		const text = getComputedStyle(card).backgroundColor;
		return text.match(/[\d.]+/g).slice(0, 3).map((part) => Number(part) / (text.startsWith("rgb") ? 255 : 1));
	};
	const dashes = (card) => getComputedStyle(document.querySelector('[data-line="' + card.dataset.node + '"] path')).strokeDasharray;
	return { Down: colour(down), Up: colour(up), Line: dashes(down), LineOfUp: dashes(up) };
})(document.querySelector('%s'), document.querySelector('%s'))`

func TestStoppedModerationIsSeenAndSoIsThatItHeals(t *testing.T) {
	t.Parallel()
	blog := harness.StartBlog(t, harness.Config{})
	post := blog.MustPost(t, "A post")
	facts := harness.Follow(t, blog.Bus.URL+"/activity") // each is held to its description
	c := look(t, browser.Start(t), blog.Bus, "")
	moderation := node("subscriber moderation")
	c.Await("moderation, up", fmt.Sprintf(`document.querySelector('%s[data-state="up"]')`, moderation))

	blog.Moderation.Copies[0].Kill()
	blog.MustComment(t, post.ID, "Does anybody read this?")
	c.Await("moderation, down and behind", fmt.Sprintf(`Number(document.querySelector('%s[data-state="down"]')?.dataset.lag) > 0`, moderation))
	c.Await("that it is said", `document.querySelector("#announcer").textContent === "moderation: down: its events wait."`)
	looks := browser.Eval[appearance](c.Window, fmt.Sprintf(appearanceOf, moderation, node("subscriber comments")))
	if spread := slices.Max(looks.Down[:]) - slices.Min(looks.Down[:]); looks.Down == looks.Up || spread > 0.05 || looks.Down[0] > looks.Up[0]-0.02 {
		t.Errorf("the card of moderation has the colour %v, which is not a grey beside the %v of one that is up", looks.Down, looks.Up)
	}
	c.Prefer("prefers-color-scheme", "dark")
	dark := browser.Eval[appearance](c.Window, fmt.Sprintf(appearanceOf, moderation, node("subscriber comments")))
	if spread := slices.Max(dark.Down[:]) - slices.Min(dark.Down[:]); spread > 0.05 || dark.Down[0] < dark.Up[0]+0.04 || dark.Down[0] > 0.3 {
		t.Errorf("in the dark it has the colour %v, which is not a grey beside %v", dark.Down, dark.Up)
	}
	if looks.Line == "none" || looks.LineOfUp != "none" {
		t.Errorf("the line to moderation is dashed %s, that to comments, which is up, %s", looks.Line, looks.LineOfUp)
	}
	lag := fmt.Sprintf(`Number(document.querySelector('%s').dataset.lag)`, moderation)
	before := browser.Eval[int](c.Window, lag)
	blog.MustComment(t, post.ID, "And this?")
	c.Await("that it falls back", fmt.Sprintf("%s > %d", lag, before))
	c.visit("#/life/2")
	c.awaitText(`.part[data-type="CommentCreated"] .step[data-open="true"]`, "Waits for moderation, which is down")
	c.awaitText(".summary", "not decided yet")

	blog.Moderation.Copies[0].Start()
	c.awaitText(".summary", "This comment was approved")
	c.awaitText(`.part[data-type="CommentCreated"] .step[data-kind="wait"]:not([data-open])`, "Waited for moderation")
	c.visit("#/")
	c.Await("moderation, up and not behind", fmt.Sprintf(`document.querySelector('%s[data-state="up"]')?.dataset.lag === "0"`, moderation))

	told := map[string]bool{}
	for _, fact := range facts.Events() {
		told[fact.Name] = true
	}
	if want := []string{"delivered", "followed", "log", "state", "stored"}; !slices.Equal(slices.Sorted(maps.Keys(told)), want) {
		t.Errorf("the bus told of %v, not of %v", told, want)
	}
}
