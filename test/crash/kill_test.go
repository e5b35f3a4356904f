// Package crash kills the real event bus under those who use it, and starves
// its disk, and compares what is left with what they were told.
package crash

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"miniblog/internal/event"
	"miniblog/test/harness"
)

// bulks is how many of the bulky batches, of 8 MB each, a segment nearly holds.
const bulks = 8

var kills = flag.Int("kills", 10, "how often the bus is killed")

func TestMain(m *testing.M) { harness.Main(m) }

// TestNothingThatAnybodyWasToldIsLostWhenTheBusIsKilled kills the bus under
// publishers, fetching readers, a stream and a subscriber, also while it starts.
func TestNothingThatAnybodyWasToldIsLostWhenTheBusIsKilled(t *testing.T) {
	t.Parallel()
	o := newTold()
	bus := harness.NewProcess(t, "event-bus", "event-bus", nil)
	l := newLoad(bus.URL, o)
	harness.SetSubscribers(bus, []harness.Subscriber{{Name: "all", URL: l.subscriber(t), Types: []string{"T"}}})
	bus.Start()
	bus.AwaitReady()
	for i := range bulks { // so that the segment is full soon, and is sealed under fire
		l.publishBatch(t.Context(), fmt.Sprintf("bulk%d", i), 1e6)
	}

	publishing, stopPublishing := context.WithCancel(t.Context())
	reading, stopReading := context.WithCancel(t.Context())
	defer stopReading()
	defer stopPublishing()
	var publishers, readers sync.WaitGroup
	for i := range 6 {
		publishers.Go(func() { l.publish(publishing, fmt.Sprintf("publisher%d", i)) })
	}
	publishers.Go(func() {
		for i := 0; publishing.Err() == nil; i++ {
			l.publishBatch(publishing, fmt.Sprintf("batch%d", i), 100)
		}
	})
	publishers.Go(func() {
		for i := bulks; publishing.Err() == nil; i++ {
			l.publishBatch(publishing, fmt.Sprintf("bulk%d", i), 1e6)
			wait(publishing, 400*time.Millisecond)
		}
	})
	before := o.last()
	readers.Go(func() { l.read(reading, "the reader of lines", before) })
	readers.Go(func() { l.read(reading, "the reader of frames", 0, "Accept-Encoding", "zstd") })
	readers.Go(func() { l.read(reading, "the stream", before, "Accept", "text/event-stream") })

	for i := range *kills {
		if i == *kills/2 { // the segment is full, at the latest now
			l.publishBatch(t.Context(), "bulk-last", 1e6)
		} else if rand.IntN(3) == 0 { // while it starts
			wait(t.Context(), rand.N(30*time.Millisecond))
		} else {
			bus.AwaitReady()
			o.mustStillBeThere(t, bus)
			wait(t.Context(), rand.N(300*time.Millisecond))
		}
		bus.Kill()
		bus.Start()
	}
	bus.AwaitReady()
	stopPublishing()
	publishers.Wait()
	last := o.last()
	harness.Eventually(t, time.Minute, func() error {
		if cursor := cursorOf(t, bus); cursor < last {
			return fmt.Errorf("the cursor is %d of %d", cursor, last)
		}
		return nil
	})
	stopReading()
	readers.Wait()
	o.report(t)
	lines := all(t, l)
	o.cursorIs(cursorOf(t, bus))
	o.holds(t, lines)
	o.report(t)
	bus.Stop()
	verified, err := harness.Run(t, "event-bus", "verify", bus.Dir)
	if err != nil {
		t.Error(err)
	}
	t.Logf("%d kills, %d events\n%s", *kills, len(lines), verified)
	if segments := strings.Count(verified, ".zst "); segments < 2 {
		t.Errorf("only %d segments: none was filled under fire", segments)
	}
}

// mustStillBeThere compares what the bus says after a start with what was told
// before.
func (o *told) mustStillBeThere(t *testing.T, bus *harness.Process) {
	t.Helper()
	before := o.last()
	answer, err := harness.Send(t.Context(), "GET", fmt.Sprintf("%s/events?after=%d&limit=1", bus.URL, before), "", "Accept", "application/x-ndjson")
	if err != nil {
		t.Fatal(err)
	}
	last, err := event.ParseSequence(answer.Header.Get("Event-Sequence-Last"))
	if err != nil || last < before {
		t.Fatalf("the log ends with %d, %v; somebody was told of %d", last, err, before)
	}
	o.isLog(answer.Header.Get("Event-Log"))
	o.cursorIs(cursorOf(t, bus))
	o.report(t)
}

// cursorOf returns the cursor of the only subscriber.
func cursorOf(t *testing.T, bus *harness.Process) event.Sequence {
	t.Helper()
	list, err := harness.API{BusURL: bus.URL}.ListSubscribers(t.Context())
	if err != nil || len(list) != 1 {
		t.Fatal(list, err)
	}
	cursor, err := event.ParseSequence(list[0].Cursor)
	if err != nil {
		t.Fatal(err)
	}
	return cursor
}

// all reads the whole log.
func all(t *testing.T, l *load) (lines [][]byte) {
	t.Helper()
	var after event.Sequence
	err := l.fetch(t.Context(), "after=0", nil, func(line []byte) {
		after = l.told.saw("who reads it all at the end", line, after)
		lines = append(lines, slices.Clone(line))
	})
	if err != nil {
		t.Fatal(err)
	}
	return lines
}
