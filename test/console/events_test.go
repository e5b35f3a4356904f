package console

import (
	"flag"
	"fmt"
	"strings"
	"testing"

	"miniblog/test/browser"
	"miniblog/test/harness"
)

var million = flag.Bool("million", false, "let the list of events have a million, and not only more than it has pixels for")

// fill publishes count events, every thousandth of another type.
func fill(t *testing.T, bus *harness.Process, count int) {
	t.Helper()
	const atOnce = 5000
	for first := 1; first <= count; first += atOnce {
		var events []string
		for i := first; i < first+atOnce && i <= count; i++ {
			typ := "Counted"
			if i%1000 == 0 {
				typ = "Thousandth"
			}
			events = append(events, fmt.Sprintf(`{"type":%q,"source":"/counter","subject":"s%d","data":{"n":"number %d"}}`, typ, i%10, i))
		}
		publish(t, bus, events)
	}
}

// rows is the JavaScript for the sequences in sight.
const rows = `[...document.querySelectorAll("#events .row .sequence")].map((s) => Number(s.textContent.replaceAll(",", "")))`

// loaded waits until everything in sight has come.
func (c console) loaded() {
	c.Await("that all rows in sight are there", `document.querySelectorAll("#events .row").length > 0 && !document.querySelector("#events .coming")`)
}

func TestEventsOfALargeLogAreHeldFilteredAndFound(t *testing.T) {
	t.Parallel()
	count := 120_000 // more than the highest element that a browser draws has room for
	if *million {
		count = 1_000_000
	}
	bus := harness.StartBus(t)
	fill(t, bus, count)
	c := look(t, browser.Start(t), bus, "#/events")
	c.Await("the newest event on top", fmt.Sprintf("%s[0] === %d", rows, count))
	c.loaded()
	if n := browser.Eval[int](c.Window, `document.querySelectorAll("#events .row").length`); n > 100 {
		t.Errorf("the page draws %d rows, and not only those in sight", n)
	}

	t.Run("scrolling", func(t *testing.T) {
		for range 5 { // small steps move it by as many pixels: 360 are 10 rows
			before := browser.Eval[int](c.Window, rows+"[0]")
			browser.Eval[bool](c.Window, `(document.querySelector("#events").scrollTop += 360) > 0`)
			c.Await("10 rows further", fmt.Sprintf("%s[0] === %d", rows, before-10))
		}
		browser.Eval[bool](c.Window, `((e) => (e.scrollTop = (e.scrollHeight - e.clientHeight) / 2) > 0)(document.querySelector("#events"))`)
		c.Await("the middle", fmt.Sprintf("Math.abs(%s[0] - %d) < %d", rows, count/2, count/100))
		c.loaded()
		browser.Eval[bool](c.Window, `((e) => (e.scrollTop = e.scrollHeight) > 0)(document.querySelector("#events"))`)
		c.Await("the first event", rows+".at(-1) === 1")
	})

	t.Run("going to a sequence", func(t *testing.T) {
		c.Focus("#goto")
		c.Type("4711")
		c.Press(browser.Enter)
		c.awaitText(".detail h3", "Event 4,711")
		c.awaitText(".detail .json", "number 4711")
		c.Await("the event among others", rows+".includes(4711)")
		c.click(".detail .close")
	})

	t.Run("holding", func(t *testing.T) {
		browser.Eval[bool](c.Window, `(document.querySelector("#events").scrollTop = 0) === 0`)
		c.Await("the newest event on top", fmt.Sprintf("%s[0] === %d", rows, count))
		c.click(".tools button[aria-pressed=false]")
		publish(t, bus, []string{`{"type":"Late"}`, `{"type":"Late"}`})
		c.awaitText(".found .newer", "2 newer events")
		if top := browser.Eval[int](c.Window, rows+"[0]"); top != count {
			t.Errorf("the list was held at %d and shows %d", count, top)
		}
		c.click(".found .newer")
		c.Await("the newest event on top", fmt.Sprintf("%s[0] === %d", rows, count+2))
	})

	t.Run("filtering", func(t *testing.T) {
		c.visit("#/events?type=Thousandth")
		c.Await("as many as a search brings, or all", fmt.Sprintf(`parseInt(document.querySelector(".found")?.textContent) >= %d`, min(count/1000, 200)))
		c.Await("the last thousandth", fmt.Sprintf("%s[0] === %d", rows, count))
		publish(t, bus, []string{`{"type":"Late"}`, `{"type":"Thousandth","subject":"new"}`})
		c.Await("one that came since", fmt.Sprintf("%s[0] === %d", rows, count+4))
		c.visit("#/events?text=NUMBER+77777%22")
		c.awaitText(".found", "1 event found")
		c.Await("it", rows+"[0] === 77777")
		c.visit("#/events?source=/nobody")
		c.awaitText(".found", "0 events found")
		c.visit("#/events")
		c.click(".tools button[aria-expanded=false]")
		c.Focus("#filter-subject")
		c.Type("new")
		c.Press(browser.Enter)
		c.awaitText(".found", "1 event found")
		c.Await("it in the address", `location.hash === "#/events?subject=new"`)
	})
}

func TestConsoleWorksByKeyboardAloneAndOnAPhone(t *testing.T) {
	t.Parallel()
	blog := harness.StartBlog(t, harness.Config{})
	post := blog.MustPost(t, "A post")
	blog.MustComment(t, post.ID, "A comment")
	c := look(t, browser.Start(t), blog.Bus, "")
	c.Press(browser.Tab)
	c.TabTo(`nav a[href="#/events"]`)
	c.Press(browser.Enter)
	c.Await("the list", `document.querySelector("#events .row")`)
	c.TabTo("#events")
	c.Await("all four events", rows+".length === 4")
	c.loaded()
	for range 3 {
		c.Press(browser.ArrowDown)
	}
	c.Await("the third event", `document.querySelector("#events").getAttribute("aria-activedescendant") === "events-2"`)
	publish(t, blog.Bus, []string{`{"type":"Late"}`})
	c.awaitText(".found .newer", "1 newer event")
	c.Await("the same event", `document.querySelector("#events .row.active .sequence").textContent === "2"`)
	c.Press(browser.Enter)
	c.Await("its details, with the focus", `document.activeElement.id === "detail" && document.activeElement.textContent.startsWith("Event ")`)
	c.Press(browser.Escape)
	c.Await("the list again", `document.activeElement.id === "events" && !document.querySelector(".detail")`)
	c.TabTo("#tour-open, .tour button.quiet")
	c.Press(browser.Enter)
	c.Await("a tour that is out of the way", `!document.querySelector(".tour") && document.querySelector("#tour-open")`)

	c.Await("a name for every field and button", `[...document.querySelectorAll("input,textarea,button")].every((e) => e.labels?.length || e.textContent.trim())`)
	long := strings.Repeat("unbroken", 15)
	publish(t, blog.Bus, []string{fmt.Sprintf(`{"type":"%s.v1","source":"/%s","subject":"%s","data":{"content":"%s"}}`, long, long, long, long)})
	for _, width := range []int64{360, 1280} {
		c.Resize(width, 740)
		for _, place := range []string{"#/", "#/events", "#/events?type=CommentCreated", "#/events/2", "#/life/2", "#/life/6", "#/subscribers/moderation", "#/log", "#/api"} {
			c.visit(place)
			c.Await("the view "+place, `document.querySelector(".view > :not(h2)")`)
			c.Await(fmt.Sprintf("nothing beside a screen of %d pixels in %s", width, place), fmt.Sprintf(`document.documentElement.scrollWidth <= %d`, width))
		}
	}
}
