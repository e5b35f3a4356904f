package console

import (
	"testing"

	"miniblog/test/browser"
	"miniblog/test/harness"
)

func TestRoutesOfTheBusAreTriedInThePage(t *testing.T) {
	t.Parallel()
	bus := harness.StartBus(t)
	c := look(t, browser.Start(t), bus, "#/api")
	const publish = `[data-operation="publish"] `
	c.click(publish + "summary")
	c.Await("the least that is an event, as JSON", `document.querySelector('`+publish+`select').value === "application/json"
		&& JSON.parse(document.querySelector('`+publish+`textarea').value).type === "CoffeeBrewed"`)
	c.click(publish + ".try button")
	c.awaitText(publish+".answer b", "200")
	c.awaitText(publish+".answer pre", `"sequence": "00000000000000000001"`)
	c.Expect(`status of 400`)
	c.Focus(publish + "textarea")
	c.Type("} and more")
	c.click(publish + ".try button")
	c.awaitText(publish+".answer[data-failed] b", "400")
	c.awaitText(publish+".answer pre", "The body is not valid JSON")
	c.Await("that it is said", `document.querySelector("#announcer").textContent === "Answer: 400"`)

	const replay = `[data-operation="replay"] `
	c.Expect(`status of 404`)
	c.click(replay + "summary")
	c.Focus(replay + "input")
	c.Type("nobody")
	c.click(replay + ".try button")
	c.awaitText(replay+".answer[data-failed] b", "404")
}

func TestWhoeverComesFromElsewhereIsAskedForTheToken(t *testing.T) {
	t.Parallel()
	bus := harness.NewProcess(t, "event-bus", "event-bus", map[string]string{"CONSOLE_TOKEN": "what only we know"})
	bus.Start()
	bus.AwaitReady()
	c := console{browser.Start(t).Open(bus.URL + "/#/subscribers")}
	c.Expect(`status of 401`)
	c.Await("the question, with the focus on its answer", `document.activeElement.id === "token"`)
	c.Type("a guess")
	c.Press(browser.Enter)
	c.awaitText("#why.wrong", "This is not the token")
	c.Await("the question again", `document.activeElement.id === "token"`)
	c.Type("what only we know")
	c.Press(browser.Enter)
	c.Await("the console", `document.querySelector("#connection")?.dataset.state === "connected"`)
	c.Await("an address without the token", `!location.href.includes("token")`)
	c.Reload()
	c.Await("the console without another question", `document.querySelector("#connection")?.dataset.state === "connected"`)
}

func TestPageThatDidNotLoadWholeSaysSo(t *testing.T) {
	t.Parallel()
	c := look(t, browser.Start(t), harness.StartBus(t), "")
	c.Expect("ERR_BLOCKED_BY_CLIENT")
	c.Block("*://*:*/console/js/life.js")
	c.Reload()
	c.Await("that it did not load whole", `(document.querySelector(".late") ?? false) && getComputedStyle(document.querySelector(".late")).visibility === "visible"`)
}
