package console

import (
	"slices"
	"testing"

	"miniblog/test/browser"
	"miniblog/test/harness"
)

// step is a step of a life as the page draws it, in milliseconds.
type step struct {
	Event, Kind, Title string
	From, To           float64
}

const readSteps = `[...document.querySelectorAll(".part")].flatMap((part) => [...part.querySelectorAll(".step")].map((step) => ({
	Event: part.dataset.type, Kind: step.dataset.kind, Title: step.querySelector(".title").textContent.trim(),
	From: Number(step.dataset.from), To: Number(step.dataset.to)})))`

func TestLifeOfACommentHasAllStepsAndTheirTimesAddUp(t *testing.T) {
	t.Parallel()
	blog := harness.NewBlog(t, harness.Config{})
	blog.Client.Setenv("CONSOLE_URL", blog.Bus.URL)
	for _, p := range blog.Processes() {
		p.Start()
	}
	blog.AwaitReady()
	post := blog.MustPost(t, "A post")
	comment := blog.MustComment(t, post.ID, "What becomes of me?")

	page := console{browser.Start(t).Open(blog.PageURL)}
	page.click(`li[data-comment-id="` + comment.ID + `"][data-status="approved"] a.happened`)
	page.Await("the life of the comment", `document.querySelectorAll(".part").length === 3`)
	for _, name := range []string{"CommentCreated", "CommentModerated", "CommentUpdated"} {
		page.awaitText(`.part[data-type="`+name+`"] .step[data-kind="read"]`, "Sent to comments")
	}
	for _, name := range []string{"CommentCreated", "CommentUpdated"} {
		page.awaitText(`.part[data-type="`+name+`"] .step[data-kind="read"]`, "Sent to query")
	}
	page.awaitText(".summary", "This comment was approved")

	steps := browser.Eval[[]step](page.Window, readSteps)
	find := func(event, kind string) step {
		t.Helper()
		i := slices.IndexFunc(steps, func(s step) bool { return s.Event == event && s.Kind == kind })
		if i < 0 {
			t.Fatalf("%s has no step %s: %v", event, kind, steps)
		}
		return steps[i]
	}
	stored, pushed := find("CommentCreated", "disk"), find("CommentCreated", "push")
	decided, answered := find("CommentModerated", "disk"), find("CommentModerated", "push")
	updated := find("CommentUpdated", "disk")
	start := browser.Eval[float64](page.Window, `Number(document.querySelector(".life").dataset.start)`)
	end := browser.Eval[float64](page.Window, `Number(document.querySelector(".life").dataset.end)`)
	if stored.From != start {
		t.Errorf("the life begins at %v, and the comment arrived at %v", start, stored.From)
	}
	// Each follows from the one before it. A reply is on disk within the push that it
	// answers; times are written to the microsecond.
	const rounding = 0.002
	for _, order := range [][2]float64{
		{stored.From, stored.To}, {stored.To, pushed.From}, {pushed.From, decided.From}, {decided.From, decided.To}, {decided.To, pushed.To},
		{decided.To, answered.From}, {answered.From, updated.From}, {updated.From, updated.To}, {updated.To, answered.To},
	} {
		if order[0] > order[1]+rounding {
			t.Errorf("something ends before it begins: %v\n%v", order, steps)
		}
	}
	latest := 0.0
	for _, s := range steps {
		if s.From < start || s.To < s.From {
			t.Errorf("%v is before the life, or ends before it begins", s)
		}
		latest = max(latest, s.To)
	}
	if latest != end {
		t.Errorf("the life ends at %v, its last step at %v", end, latest)
	}
	page.click(`.part[data-type="CommentModerated"] h3 a`)
	page.awaitText(".detail .relative", "Caused by CommentCreated")
	page.awaitText(".detail .relative", "Caused CommentUpdated")
	page.awaitText(".detail .json", "What becomes of me?")
}

func TestDeadLetterIsLookedAtAndDeliveredAgainAfterTheCure(t *testing.T) {
	t.Parallel()
	subscriber := newPicky(t)
	bus := harness.StartBus(t, harness.Subscriber{Name: "picky", URL: subscriber.url})
	publish(t, bus, []string{`{"type":"Poison","subject":"a","data":{"of":"a kind"}}`, `{"type":"Poison","subject":"b"}`})
	c := look(t, browser.Start(t), bus, "#/life/1")
	c.awaitText(`.step[data-kind="push"][data-failed="true"]`, "422: I cannot read this.")
	c.awaitText(`.step[data-kind="dead"]`, "Given up: a dead letter of picky")
	c.awaitText(".summary", "It was given up for picky.")
	c.click(`.step[data-kind="dead"] a`)

	c.awaitText(`.letter[data-sequence="1"] .answer`, "I cannot read this.")
	c.awaitText(`.letter[data-sequence="1"]`, "a kind")
	c.awaitText(".attempts", "rejected 422")
	c.click(`.letter[data-sequence="1"] .action button`)
	c.awaitText(".action.asked", "1 dead letter (event 1) will be pushed to picky again")
	c.click(".action.asked button")
	c.awaitText(`.letter[data-sequence="1"] .action .wrong`, "1 refused again")
	c.awaitText(".attempts", "was a dead letter")
	c.Resize(360, 740)
	c.Await("nothing beside a screen of 360 pixels", `document.documentElement.scrollWidth <= 360`)

	subscriber.cured.Store(true)
	c.TabTo(`.letter[data-sequence="1"] .action button`) // the keyboard is enough
	c.Press(browser.Enter)
	c.Await("the question, with the focus on its answer", `document.activeElement.matches(".action.asked button:not(.quiet)")`)
	c.Press(browser.Enter)
	c.Await("that the letter is gone", `!document.querySelector('.letter[data-sequence="1"]') && document.querySelector('.letter[data-sequence="2"]')`)
	c.click(`.reasons .action button`)
	c.awaitText(".action.asked", "1 dead letter (event 2)")
	c.click(".action.asked button")
	c.Await("that there are none", `document.querySelectorAll(".letter").length === 0`)
	c.awaitText(".letters .did", "1 delivered.")

	c.Focus("#from")
	c.Type("2")
	c.click(".replay button")
	c.awaitText(".replay .asked", "Everything from event 2 on")
	c.click(".replay .asked button")
	c.awaitText(".replay .action", "The cursor is at event 1 now")
}
