package crash

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"miniblog/event-bus/cluster/natstest"
	"miniblog/test/harness"
)

// delivery is a request that a copy of the bus sent to the subscriber.
type delivery struct {
	from     string // which copy
	sequence string
}

// inbox is a subscriber that knows which copy of the bus a delivery comes from:
// each has another path for it.
type inbox struct {
	*httptest.Server
	mu       sync.Mutex
	came     []delivery    // in the order in which they began
	hold     chan struct{} // not nil: the next delivery waits until it is closed
	held     string        // the sequence of the one that waits
	underWay int
	overlap  bool
}

func (in *inbox) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var e struct{ Sequence string }
	if err != nil || json.Unmarshal(body, &e) != nil {
		return
	}
	in.mu.Lock()
	in.came = append(in.came, delivery{strings.Trim(r.URL.Path, "/"), e.Sequence})
	hold := in.hold
	if hold != nil {
		in.hold, in.held = nil, e.Sequence
	} else {
		in.underWay++ // the one that is held belongs to a copy that is frozen
		in.overlap = in.overlap || in.underWay > 1
	}
	in.mu.Unlock()
	if hold != nil {
		<-hold
		return
	}
	in.mu.Lock()
	in.underWay--
	in.mu.Unlock()
}

// deliveries returns what came after the first n deliveries.
func (in *inbox) deliveries(n int) []delivery {
	in.mu.Lock()
	defer in.mu.Unlock()
	return append([]delivery{}, in.came[n:]...)
}

// TestAnotherCopyOfTheBusTakesOver freezes and kills the copy of the bus that
// delivers to a subscriber.
func TestAnotherCopyOfTheBusTakesOver(t *testing.T) {
	t.Parallel()
	servers := natstest.Start(t, natstest.Options{})
	in := &inbox{}
	in.Server = httptest.NewServer(in)
	t.Cleanup(in.Close)
	var buses []*harness.Process
	for i := range 3 {
		bus := harness.NewProcess(t, "event-bus", fmt.Sprintf("event-bus-%d", i), map[string]string{"NATS_URL": servers.URL()})
		harness.SetSubscribers(bus, []harness.Subscriber{{Name: "all", URL: fmt.Sprintf("%s/%s", in.URL, bus.Name), Timeout: "1m"}})
		bus.Start()
		buses = append(buses, bus)
	}
	for _, bus := range buses {
		bus.AwaitReady()
	}
	// publish stores an event at one of the buses and returns its sequence.
	publish := func(at *harness.Process) (sequence string) {
		t.Helper()
		harness.Eventually(t, 30*time.Second, func() error {
			receipt, err := harness.API{BusURL: at.URL}.Publish(t.Context(), "T", "x")
			sequence, _ = receipt["sequence"].(string)
			return err
		})
		return sequence
	}
	// await waits until an event came from one of those, and returns from whom.
	await := func(sequence string, from ...*harness.Process) (by *harness.Process) {
		t.Helper()
		harness.Eventually(t, 30*time.Second, func() error {
			all := in.deliveries(0)
			for _, d := range all {
				for _, bus := range from {
					if d == (delivery{bus.Name, sequence}) {
						by = bus
						return nil
					}
				}
			}
			return fmt.Errorf("event %s did not come from any of %d copies: %v", sequence, len(from), all[max(0, len(all)-10):])
		})
		return by
	}
	// others returns the copies but those.
	others := func(but ...*harness.Process) (rest []*harness.Process) {
		for _, bus := range buses {
			if !slices.Contains(but, bus) {
				rest = append(rest, bus)
			}
		}
		return rest
	}

	owner := await(publish(buses[0]), buses...)
	hold := make(chan struct{})
	in.mu.Lock()
	in.hold = hold
	in.mu.Unlock()
	first := publish(owner)
	await(first, owner) // and is not answered

	frozen := owner
	if err := syscall.Kill(frozen.Pid(), syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	owner = await(first, others(frozen)...)
	t.Logf("%v after it froze another copy delivers", time.Since(began).Round(time.Millisecond))
	await(publish(owner), owner)

	before := len(in.deliveries(0))
	close(hold) // the answer waits for the one that is frozen
	if err := syscall.Kill(frozen.Pid(), syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	harness.Eventually(t, 30*time.Second, func() error { // it knows who is the owner
		var list []struct{ Owner string }
		answer, err := harness.Send(t.Context(), "GET", frozen.URL+"/subscribers", "")
		if err == nil {
			err = json.Unmarshal(answer.Body, &list)
		}
		if err == nil && (len(list) != 1 || !strings.HasSuffix(list[0].Owner, fmt.Sprint(":", owner.Pid()))) {
			err = fmt.Errorf("it says %s, the owner is %d", answer.Body, owner.Pid())
		}
		return err
	})
	for _, bus := range buses {
		await(publish(bus), owner)
	}
	for _, d := range in.deliveries(before) {
		if d.from != owner.Name {
			t.Errorf("the copy that was frozen went on: %v", d)
		}
	}

	killed := owner
	killed.Kill()
	began = time.Now()
	last := publish(frozen)
	owner = await(last, others(killed)...)
	t.Logf("%v after it was killed another copy delivers", time.Since(began).Round(time.Millisecond))
	for _, bus := range others(killed) {
		last = publish(bus)
	}
	await(last, owner)
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.overlap {
		t.Error("two events were under way at once")
	}
	newest := ""
	seen := map[string]bool{}
	for _, d := range in.came {
		if !seen[d.sequence] && d.sequence < newest {
			t.Errorf("event %s came after event %s", d.sequence, newest)
		}
		seen[d.sequence] = true
		newest = max(newest, d.sequence)
	}
	if whole, err := strconv.Atoi(last); err != nil || len(seen) != whole {
		t.Errorf("%d of %d events were delivered, %v", len(seen), whole, err)
	}
}
