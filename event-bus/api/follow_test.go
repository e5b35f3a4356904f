package api

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"miniblog/event-bus/eventlog"
	"miniblog/internal/event"
	"miniblog/internal/wire"
	"miniblog/test/wait"
)

// follow opens an answer that stays open.
func (b *runningBus) follow(query string) (*http.Response, *bufio.Reader) {
	b.t.Helper()
	request, err := http.NewRequestWithContext(b.t.Context(), "GET", b.url+"/events?follow=20ms&"+query, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	response, err := b.client.Do(request)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { response.Body.Close() })
	if response.StatusCode != http.StatusOK || response.Header.Get(wire.FollowHeader) != "20ms" {
		b.t.Fatalf("answered %s %v", response.Status, response.Header)
	}
	return response, bufio.NewReader(response.Body)
}

// followed reads lines until a mark says that the sequence was passed, and
// returns the events before it and the mark's id.
func followed(t testing.TB, r *bufio.Reader, to event.Sequence) (events []event.Sequence, id string) {
	t.Helper()
	for {
		text, err := r.ReadString('\n')
		if err != nil {
			t.Fatalf("it ended after %v and before a mark of %d: %v", events, to, err)
		}
		if !strings.HasPrefix(text, wire.MarkPrefix) {
			e, err := event.ParseLine([]byte(strings.TrimSuffix(text, "\n")))
			if err != nil {
				t.Fatalf("%v in %q", err, text)
			}
			events = append(events, e.Sequence)
			continue
		}
		var mark struct{ Passed, ID string }
		if err := json.Unmarshal([]byte(text), &mark); err != nil {
			t.Fatal(err)
		}
		if at, _ := event.ParseSequence(mark.Passed); at >= to {
			return events, mark.ID
		}
	}
}

func TestFollowerGetsItsTypesAndHearsWhatWasPassed(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	b.fill("Other", 2)
	response, some := b.follow("after=2&type=A,B")
	if response.Header.Get("Event-Log") == "" || response.Header.Get("Event-Sequence-Last") != "00000000000000000002" || response.Header.Get("Content-Type") != wire.Lines {
		t.Errorf("the headers are %v", response.Header)
	}
	_, all := b.follow("after=2")
	if events, id := followed(t, some, 2); len(events) > 0 || id != "" { // alive, though there is nothing to say
		t.Errorf("%v, %q", events, id)
	}
	b.fill("Other", 3)
	events, id := followed(t, some, 5)
	if len(events) > 0 || id != b.events()[4].ID {
		t.Errorf("what was passed: %v up to %q", events, id)
	}
	b.send("POST", "/events", `[{"type":"A"},{"type":"Other"},{"type":"Other"},{"type":"B"},{"type":"A"},{"type":"Other","id":"last"}]`, "Content-Type", wire.Batch)
	events, id = followed(t, some, 11)
	wantRanks(t, events, 6, 9, 10)
	if id != "last" {
		t.Errorf("the mark's id is %q", id)
	}
	events, _ = followed(t, all, 11)
	wantRanks(t, events, 3, 4, 5, 6, 7, 8, 9, 10, 11)

	_, within := b.follow("after=9&type=A,Other") // it begins within a batch
	events, _ = followed(t, within, 11)
	wantRanks(t, events, 10, 11)

	b.client.CloseIdleConnections()
	b.kill()
	if rest, err := io.ReadAll(all); err != nil { // a stop ends it between two lines
		t.Errorf("it was cut off: %v after %q", err, rest)
	}
}

func TestFollowerGetsLargeEventsWhole(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	_, r := b.follow("after=0&type=Large")
	for range 3 {
		b.post("application/json", fmt.Sprintf(`{"type":"Large","data":%q}`, strings.Repeat("x", 300_000)))
		b.fill("Other", 1)
	}
	events, _ := followed(t, r, 6)
	wantRanks(t, events, 1, 3, 5)
}

// TestFollowerBehindMemoryHasToFetch: the answer ends, and says where the log is.
func TestFollowerBehindMemoryHasToFetch(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	for range 6 {
		b.post("application/json", fmt.Sprintf(`{"type":"Large","data":%q}`, strings.Repeat("x", 1_000_000)))
	}
	response, r := b.follow("after=0")
	rest, err := io.ReadAll(r)
	atZero := `{"passed":"00000000000000000000"}` + "\n" // as who waits is told each second
	if rest := strings.ReplaceAll(string(rest), atZero, ""); err != nil || rest != "" {
		t.Errorf("the follower got %.200q, %v", rest, err)
	}
	if last := response.Header.Get("Event-Sequence-Last"); last != "00000000000000000006" {
		t.Errorf("the log is said to end at %s", last)
	}
	_, r = b.follow("after=6")
	b.fill("A", 1)
	events, _ := followed(t, r, 7)
	wantRanks(t, events, 7)
}

func TestFollowerProvesItsHistory(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	b.fill("A", 2)
	b.send("GET", "/events?follow=1s&after=3", "").wantProblem(t, http.StatusConflict, "")
	b.send("GET", "/events?follow=1s&after=2&after-id=other", "").wantProblem(t, http.StatusConflict, "")
	_, r := b.follow("after=2&after-id=" + b.newest().ID)
	followed(t, r, 2)
}

// TestEventsOfOtherTypesWakeNobody: a follower is moved past them, however many
// there are, and is not sent back to fetching.
func TestEventsOfOtherTypesWakeNobody(t *testing.T) {
	log := openLog(t)
	tail := newTail(log)
	r := tail.add(map[string]bool{"Wanted": true}, 0)
	defer tail.remove(r)
	<-r.wake // for what was there before
	line := mustLine(t, fmt.Sprintf(`{"type":"Other","source":"/s","data":%q}`, strings.Repeat("x", 500_000)))
	for i := range 3 * tailBytes / 500_000 {
		e, _ := line.Event()
		e.ID = fmt.Sprint(i)
		line, err := event.NewLine(&e)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := log.Append(context.Background(), []event.Line{line}); err != nil {
			t.Fatal(err)
		}
		wait.For(t, "the follower to be moved", func() bool { mark, _ := tail.passed(r); return mark.Passed == log.Last() })
		if mark, _ := tail.passed(r); mark.ID != fmt.Sprint(i) {
			t.Fatalf("event %d is said to be %q", mark.Passed, mark.ID)
		}
	}
	select {
	case <-r.wake:
		t.Error("it was woken for what it does not want")
	default:
	}
	if text, ok := tail.take(r, make([]byte, 0, 100)); len(text) > 0 || !ok {
		t.Errorf("it takes %q, %v", text, ok)
	}
	if tail.bytes > tailBytes {
		t.Errorf("%d bytes are kept", tail.bytes)
	}
}

// TestWhoLeavesIsNotFollowedForAnyMore: nothing is kept, and nothing runs.
func TestWhoLeavesIsNotFollowedForAnyMore(t *testing.T) {
	log := openLog(t)
	tail := newTail(log)
	for range 3 {
		r := tail.add(nil, log.Last())
		e := event.New(event.NewID(), "/s", "T", "", time.Now())
		line, _ := event.NewLine(&e)
		if _, err := log.Append(context.Background(), []event.Line{line}); err != nil {
			t.Fatal(err)
		}
		wait.For(t, "the event", func() bool { text, _ := tail.take(r, make([]byte, 0, 1000)); return len(text) > 0 })
		tail.remove(r)
	}
	tail.mu.Lock()
	defer tail.mu.Unlock()
	if len(tail.readers) > 0 || len(tail.batches) > 0 || tail.bytes > 0 {
		t.Errorf("%d readers, %d batches, %d bytes are left", len(tail.readers), len(tail.batches), tail.bytes)
	}
}

// forgetful is a log whose memory holds nothing once it has been followed for a
// moment: a bus that is busy.
type forgetful struct {
	Log
	forgets atomic.Bool
}

func (l *forgetful) Recent(after event.Sequence) eventlog.Batch {
	if l.forgets.Load() {
		return eventlog.Batch{}
	}
	return l.Log.Recent(after)
}

// TestTailReadsWhatTheLogHasForgotten: followers need not fetch it, each for
// itself, if only the bus was busy.
func TestTailReadsWhatTheLogHasForgotten(t *testing.T) {
	t.Parallel()
	log := openLog(t)
	busy := &forgetful{Log: log}
	tail := newTail(busy)
	some, none := tail.add(map[string]bool{"A": true}, 0), tail.add(map[string]bool{"B": true}, 0)
	defer tail.remove(some)
	defer tail.remove(none)
	passed := func(r *tailReader, to event.Sequence) {
		t.Helper()
		wait.For(t, fmt.Sprintf("what comes before %d to be passed", to), func() bool {
			mark, ok := tail.passed(r)
			return ok && mark.Passed == to && mark.ID == fmt.Sprint("id-", int(to))
		})
	}
	store := func(types ...string) {
		t.Helper()
		var lines []event.Line
		for i, typ := range types {
			line, err := event.NewLine(&event.Event{ID: fmt.Sprint("id-", int(log.Last())+i+1), Type: typ})
			if err != nil {
				t.Fatal(err)
			}
			lines = append(lines, line)
		}
		if _, err := log.Append(t.Context(), lines); err != nil {
			t.Fatal(err)
		}
	}
	store("Other")
	passed(none, 1)
	passed(some, 1)
	busy.forgets.Store(true)
	store("Other", "A", "Other")
	passed(none, 4)
	store("Other")
	passed(none, 5)
	wait.For(t, "the reader to be woken", func() bool { return len(some.wake) == 1 })
	text, ok := tail.take(some, make([]byte, 0, 1000))
	if e, err := event.ParseLine(bytes.TrimSuffix(text, []byte("\n"))); !ok || err != nil || e.Sequence != 3 {
		t.Errorf("it took %q, %v (%v)", text, ok, err)
	}
	passed(some, 5)
}
