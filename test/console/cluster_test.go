package console

import (
	"fmt"
	"testing"

	"miniblog/event-bus/cluster/natstest"
	"miniblog/test/browser"
	"miniblog/test/harness"
)

func TestClusterShowsEveryCopyTheOwnersAndTheServers(t *testing.T) {
	t.Parallel()
	servers := natstest.Start(t, natstest.Options{})
	subscriber := newPicky(t)
	subscriber.cured.Store(true)
	var buses []*harness.Process
	for i := range 2 {
		bus := harness.NewProcess(t, "event-bus", fmt.Sprintf("event-bus-%d", i+1), map[string]string{"NATS_URL": servers.URL()})
		harness.SetSubscribers(bus, []harness.Subscriber{{Name: "picky", URL: subscriber.url}})
		bus.Start()
		buses = append(buses, bus)
	}
	for _, bus := range buses {
		bus.AwaitReady()
	}
	publish(t, buses[1], []string{`{"type":"First"}`, `{"type":"Second"}`})

	c := look(t, browser.Start(t), buses[0], "")
	bus := node("bus")
	c.Await("both copies on the map, up to date", fmt.Sprintf(`document.querySelectorAll('%s .copies [data-state="up"]').length === 2`, bus))
	c.awaitText(bus+" .small a", "3 of 3 NATS servers up")
	c.click(bus + " .small a")
	c.Await("both copies, with the two events", `document.querySelectorAll('[data-copy][data-state="up"]').length === 2
		&& [...document.querySelectorAll("[data-copy]")].every((row) => row.cells[2].textContent === "2")`)
	c.Await("one of them delivers to the subscriber", `[...document.querySelectorAll("[data-copy]")].map((row) => row.cells[4].textContent).sort().join() === "nobody,picky"`)
	c.Await("three servers, one of which leads", `document.querySelectorAll('[data-server][data-state="up"]').length === 3
		&& [...document.querySelectorAll("[data-server]")].filter((row) => row.textContent.includes("leads")).length === 1`)

	buses[1].Kill()
	c.awaitText(`[data-copy][data-state="gone"]`, "does not answer")
	c.Await("the other one delivers now", `document.querySelector('[data-copy][data-state="up"]').cells[4].textContent === "picky"`)

	for _, server := range servers.Servers {
		server.Kill()
	}
	c.awaitText(".note.wrong", "The NATS servers do not answer: ")
	c.Await("that nobody knows how they are", `[...document.querySelectorAll('[data-server][data-state="gone"]')].filter((row) => row.cells[1].textContent === "unknown").length === 3`)
	c.visit("#/")
	c.awaitText(bus+" .why a", "The NATS servers do not answer")
	c.awaitText(node("subscriber picky"), "no copy of the bus delivers to it now")
}
