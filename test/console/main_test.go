// Package console tests the bus's page on real processes and in a real browser.
package console

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"miniblog/test/browser"
	"miniblog/test/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

// console is the bus's page in a window.
type console struct{ *browser.Window }

// look opens a place of the bus's page and waits until it is live.
func look(t *testing.T, b *browser.Browser, bus *harness.Process, place string) console {
	t.Helper()
	c := console{b.Open(bus.URL + "/" + place)}
	c.Await("that it is connected", `document.querySelector("#connection").dataset.state === "connected"`)
	return c
}

// visit goes to another place in the page.
func (c console) visit(place string) {
	browser.Eval[bool](c.Window, fmt.Sprintf("(location.hash = %s) !== ''", browser.Quote(place)))
}

// click presses what a CSS selector names.
func (c console) click(selector string) {
	c.Await(selector, fmt.Sprintf("document.querySelector(%s)", browser.Quote(selector)))
	browser.Eval[bool](c.Window, fmt.Sprintf("document.querySelector(%s).click() ?? true", browser.Quote(selector)))
}

// awaitText waits for a text in what a CSS selector names.
func (c console) awaitText(selector, text string) {
	c.Await(fmt.Sprintf("%s: %s", selector, text),
		fmt.Sprintf("[...document.querySelectorAll(%s)].some((e) => e.textContent.includes(%s))", browser.Quote(selector), browser.Quote(text)))
}

// publish publishes events as one batch.
func publish(t *testing.T, bus *harness.Process, events []string) {
	t.Helper()
	response, err := http.Post(bus.URL+"/events", "application/cloudevents-batch+json", strings.NewReader("["+strings.Join(events, ",")+"]"))
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusOK {
		t.Fatalf("publishing %d events: %s", len(events), response.Status)
	}
}

// picky is a subscriber that refuses every event until it is cured.
type picky struct {
	url   string
	cured atomic.Bool
}

func newPicky(t *testing.T) *picky {
	t.Helper()
	p := &picky{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if !p.cured.Load() {
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(http.StatusUnprocessableEntity)
			io.WriteString(w, `{"type":"about:blank","title":"Unprocessable Content","status":422,"detail":"I cannot read this."}`)
		}
	}))
	t.Cleanup(server.Close)
	p.url = server.URL
	return p
}
