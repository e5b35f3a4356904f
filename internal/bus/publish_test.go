package bus_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"miniblog/internal/bus"
	"miniblog/internal/bus/bustest"
	"miniblog/internal/event"
	"miniblog/internal/fault"
	"miniblog/test/wait"
)

const batches = "application/cloudevents-batch+json"

func newEvent(id string) event.Event {
	return event.New(id, "/test", event.PostCreated, id, event.Post{ID: id, Title: "Title of " + id})
}

func client(t *testing.T, b *bustest.Bus) *bus.Client {
	c := bus.New(b.URL)
	t.Cleanup(c.Close)
	return c
}

func publish(t *testing.T, c *bus.Client, id string) bus.Receipt {
	t.Helper()
	receipt, err := c.Publish(t.Context(), newEvent(id))
	if err != nil {
		t.Fatal(err)
	}
	return receipt
}

func TestReceiptNamesThePlaceInTheLog(t *testing.T) {
	c := client(t, bustest.New(t))
	for _, test := range []struct {
		id   string
		want bus.Receipt
	}{{"a", bus.Receipt{Sequence: 1}}, {"b", bus.Receipt{Sequence: 2}}, {"a", bus.Receipt{Sequence: 1, Duplicate: true}}} {
		if got := publish(t, c, test.id); got != test.want {
			t.Errorf("publication of %s: %+v, want %+v", test.id, got, test.want)
		}
	}
}

func TestPublishOutlivesARestartOfTheBus(t *testing.T) {
	b := bustest.New(t)
	c := client(t, b)
	publish(t, c, "a") // leaves a connection that will be cut
	b.Stop()
	done := make(chan bus.Receipt)
	go func() { done <- publish(t, c, "b") }()
	b.Restart(t)
	if got := <-done; got != (bus.Receipt{Sequence: 2}) || len(b.Events()) != 2 {
		t.Errorf("receipt %+v, %d events stored", got, len(b.Events()))
	}
}

func TestPublishTriesAgainWhileTheBusCannotWrite(t *testing.T) {
	b := bustest.New(t)
	c := client(t, b)
	b.Refuse(http.StatusServiceUnavailable)
	done := make(chan bus.Receipt)
	go func() { done <- publish(t, c, "a") }()
	wait.For(t, "two attempts", func() bool { return b.Requests("application/json") >= 2 })
	b.Refuse(0)
	if got := <-done; got.Sequence != 1 {
		t.Errorf("receipt %+v", got)
	}
}

// TestPublishEndsWhenItsCallerIsDue: what the caller has waited for before counts, too.
func TestPublishEndsWhenItsCallerIsDue(t *testing.T) {
	hang := bustest.New(t)
	defer hang.Hold()()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	began := time.Now()
	_, err := client(t, hang).Publish(ctx, newEvent("a"))
	var f *fault.Fault
	if !errors.As(err, &f) || f.Kind != fault.Unavailable || time.Since(began) > 3*time.Second {
		t.Errorf("after %v: %v", time.Since(began), err)
	}
}

func TestUnreachableBusIsSaidWithinFiveSeconds(t *testing.T) {
	full := bustest.New(t)
	full.Refuse(http.StatusInsufficientStorage)
	hang := bustest.New(t)
	t.Cleanup(hang.Hold())
	gone := bustest.New(t)
	gone.Stop()
	for name, b := range map[string]*bustest.Bus{"nobody listens": gone, "nobody answers": hang, "it cannot write": full} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			start := time.Now()
			_, err := client(t, b).Publish(t.Context(), newEvent("a"))
			var f *fault.Fault
			if !errors.As(err, &f) || f.Kind != fault.Unavailable || f.Detail == "" {
				t.Errorf("error %v", err)
			}
			if took := time.Since(start); took > 5*time.Second {
				t.Errorf("it took %v", took)
			}
		})
	}
}

// TestEveryOneOfManyIsToldWithinFiveSeconds: the budget runs from when a
// publication arrives, not from its first attempt.
func TestEveryOneOfManyIsToldWithinFiveSeconds(t *testing.T) {
	hang := bustest.New(t)
	t.Cleanup(hang.Hold())
	c := client(t, hang)
	var wg sync.WaitGroup
	for i := range 1500 {
		wg.Go(func() {
			start := time.Now()
			_, err := c.Publish(t.Context(), newEvent(fmt.Sprint("id", i)))
			var f *fault.Fault
			if took := time.Since(start); !errors.As(err, &f) || f.Kind != fault.Unavailable || took > 5*time.Second {
				t.Errorf("publication %d: %v after %v", i, err, took)
			}
		})
	}
	wg.Wait()
}

func TestWhatTheBusRefusesIsNotTriedAgain(t *testing.T) {
	b := bustest.New(t)
	_, err := client(t, b).Publish(t.Context(), newEvent(strings.Repeat("x", 129)))
	var f *fault.Fault
	if !errors.As(err, &f) || f.Kind != fault.Refused || !strings.Contains(f.Detail, "The id is too long") {
		t.Errorf("error %v", err)
	}
	if n := b.Requests("application/json"); n != 1 {
		t.Errorf("%d attempts", n)
	}
}

func TestWhoLeavesDoesNotWaitForTheBus(t *testing.T) {
	b := bustest.New(t)
	defer b.Hold()()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := client(t, b).Publish(ctx, newEvent("a")); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

// together publishes ids while one publication is held up, so that they wait
// for each other.
func together(t *testing.T, b *bustest.Bus, c *bus.Client, ids ...string) (receipts []bus.Receipt, errs []error) {
	t.Helper()
	publish(t, c, "first") // the bus shows what it is
	release := b.Hold()
	before := b.Requests("application/json")
	receipts, errs = make([]bus.Receipt, len(ids)), make([]error, len(ids))
	var wg sync.WaitGroup
	wg.Go(func() { publish(t, c, "held") })
	wait.For(t, "the held publication", func() bool { return b.Requests("application/json") > before })
	for i, id := range ids {
		wg.Go(func() { receipts[i], errs[i] = c.Publish(t.Context(), newEvent(id)) })
	}
	wait.For(t, "all publications to queue", func() bool { return bus.Waiting(c) == len(ids) })
	release()
	wg.Wait()
	return receipts, errs
}

func TestPublicationsThatWaitGoInOneBatch(t *testing.T) {
	b := bustest.New(t)
	var ids []string
	for i := range 100 {
		ids = append(ids, fmt.Sprint("id", i))
	}
	receipts, errs := together(t, b, client(t, b), ids...)
	if n := b.Requests(batches); n != 1 {
		t.Errorf("%d batches, want 1", n)
	}
	stored := b.Events()
	for i, r := range receipts {
		if errs[i] != nil || r.Duplicate || stored[r.Sequence-1].ID != ids[i] {
			t.Errorf("publication %s: %+v, %v", ids[i], r, errs[i])
		}
	}
}

func TestBatchTellsEachWhetherItWasStoredBefore(t *testing.T) {
	b := bustest.New(t)
	receipts, errs := together(t, b, client(t, b), "new", "first")
	if errs[0] != nil || errs[1] != nil {
		t.Fatal(errs)
	}
	if receipts[0] != (bus.Receipt{Sequence: 3}) || receipts[1] != (bus.Receipt{Sequence: 1, Duplicate: true}) {
		t.Errorf("receipts %+v", receipts)
	}
}

func TestOneBadEventDoesNotSpoilItsBatch(t *testing.T) {
	b := bustest.New(t)
	receipts, errs := together(t, b, client(t, b), "good", strings.Repeat("x", 129), "fine")
	if errs[0] != nil || errs[2] != nil || receipts[0].Sequence == 0 || receipts[2].Sequence == 0 {
		t.Errorf("the good ones: %+v, %v", receipts, errs)
	}
	var f *fault.Fault
	if !errors.As(errs[1], &f) || f.Kind != fault.Refused {
		t.Errorf("the bad one: %v", errs[1])
	}
}

func TestSimpleBusGetsOneEventARequest(t *testing.T) {
	b := bustest.NewSimple(t)
	receipts, errs := together(t, b, client(t, b), "a", "b", "c")
	for i, r := range receipts {
		if errs[i] != nil || r.Sequence != 0 {
			t.Errorf("%+v, %v", r, errs[i])
		}
	}
	if b.Requests(batches) != 0 || len(b.Events()) != 5 {
		t.Errorf("%d batches, %d events", b.Requests(batches), len(b.Events()))
	}
}

func TestBusThatForgetsBatchesGetsEachEvent(t *testing.T) {
	b := bustest.New(t)
	c := client(t, b)
	publish(t, c, "a")
	b.Become(true)
	_, errs := together(t, b, c, "b", "c")
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"b", "c"} {
		if !holds(b, id) {
			t.Errorf("%s is not stored", id)
		}
	}
}

func holds(b *bustest.Bus, id string) bool {
	for _, e := range b.Events() {
		if e.ID == id {
			return true
		}
	}
	return false
}

// TestEventsAreSentAsLines holds that the bus can take them without decoding.
func TestEventsAreSentAsLines(t *testing.T) {
	bodies := make(chan []byte, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		bodies <- body
		fmt.Fprint(w, `{"status":"OK","id":"a","sequence":"1"}`)
	}))
	defer server.Close()
	c := bus.New(server.URL)
	defer c.Close()
	publish(t, c, "a")
	body := <-bodies
	if line, _, ok := event.TakeLine(body); !ok || len(line.Text()) != len(body) {
		t.Errorf("%s is not taken", body)
	}
}
