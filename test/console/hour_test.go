package console

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"miniblog/test/browser"
	"miniblog/test/harness"
)

var (
	hour    = flag.Bool("hour", false, "let a console be open at 200 events/s for an hour, or for -hour.for")
	hourFor = flag.Duration("hour.for", time.Hour, "how long -hour lasts")
)

// TestAnHourOf200EventsASecondMakesThePageNoLarger goes round the views all the
// time. What the page holds may not grow from when it has seen as many events as
// it remembers.
func TestAnHourOf200EventsASecondMakesThePageNoLarger(t *testing.T) {
	if !*hour {
		t.Skip("it takes an hour: go test ./test/console -run Hour -hour -timeout 2h; -hour.for=10m takes less")
	}
	const perSecond, together = 200, 10
	subscriber := newPicky(t)
	subscriber.cured.Store(true)
	bus := harness.StartBus(t, harness.Subscriber{Name: "picky", URL: subscriber.url})
	harness.Follow(t, bus.URL+"/events?type=Nothing") // a follower that is passed over
	ctx, stop := context.WithCancel(t.Context())
	var published atomic.Int64
	ended := make(chan error, 1)
	go func() { ended <- publishSteadily(ctx, bus.URL, perSecond, together, &published) }()

	c := look(t, browser.Start(t), bus, "")
	c.click(".tour .quiet")
	views := map[string]string{
		"#/": `.bus`, "#/events": `#events .row`, "#/events?type=T3": `#events .row`, "#/life/7": `.part`, "#/subscribers/picky": `.attempts li`, "#/log": `#followers`, "#/api": `.operation`,
	}
	lap := func() browser.Usage {
		for place, ready := range views {
			c.visit(place)
			c.Await(place, fmt.Sprintf("document.querySelector(%q)", ready))
			time.Sleep(3 * time.Second) // that somebody looks at it
		}
		c.visit("#/")
		c.Await("the map", `document.querySelector(".map")`)
		return c.Usage()
	}
	begun := time.Now()
	for published.Load() < 10_000 { // the page remembers what was done with 4,000
		lap()
	}
	first, n := lap(), published.Load()
	t.Logf("after %v and %d events: %.1f MB, %d nodes", time.Since(begun).Round(time.Second), n, first.Heap/1e6, first.Nodes)
	for time.Since(begun) < *hourFor {
		lap()
	}
	last := lap()
	t.Logf("after %v and %d events: %.1f MB, %d nodes", time.Since(begun).Round(time.Second), published.Load(), last.Heap/1e6, last.Nodes)
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if rate := float64(published.Load()) / time.Since(begun).Seconds(); rate < 0.9*perSecond {
		t.Errorf("%.0f events a second were published, not %d", rate, perSecond)
	}
	if last.Heap > 1.25*first.Heap {
		t.Errorf("the page's objects grew from %.1f to %.1f MB", first.Heap/1e6, last.Heap/1e6)
	}
	if last.Nodes > first.Nodes+first.Nodes/4 {
		t.Errorf("the page's documents grew from %d to %d nodes", first.Nodes, last.Nodes)
	}
}

// publishSteadily publishes events, so many together, until ctx ends.
func publishSteadily(ctx context.Context, url string, perSecond, together int, published *atomic.Int64) error {
	tick := time.NewTicker(time.Second * time.Duration(together) / time.Duration(perSecond))
	defer tick.Stop()
	for {
		var events []string
		for i := range together {
			n := published.Load() + int64(i)
			events = append(events, fmt.Sprintf(`{"type":"T%d","source":"/steady","subject":"s%d","data":{"content":"number %d"}}`, n%7, n%100, n))
		}
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/events", strings.NewReader("["+strings.Join(events, ",")+"]"))
		if err != nil {
			return err
		}
		request.Header.Set("Content-Type", "application/cloudevents-batch+json")
		response, err := http.DefaultClient.Do(request)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return fmt.Errorf("publishing: %s", response.Status)
		}
		published.Add(int64(together))
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}
