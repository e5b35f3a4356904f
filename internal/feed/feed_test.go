package feed

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"miniblog/internal/event"
)

// serve offers a feed whose checkpoint is what is published.
func serve(t *testing.T, f *Feed, checkpoint *atomic.Uint64) (url string) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := f.serve(ctx, w, r, func() event.Sequence { return event.Sequence(checkpoint.Load()) }); err != nil {
			http.Error(w, err.Error(), http.StatusUnprocessableEntity)
		}
	}))
	t.Cleanup(func() {
		cancel()
		server.Close()
	})
	return server.URL
}

// read returns a function that returns the next event of a stream as "id
// event", "" at its end.
func read(t *testing.T, url string) (next func() string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 2*maxBytes)
	lines.Scan() // the first lines say that the stream is there
	if !strings.HasPrefix(lines.Text(), ":") {
		id := lines.Text()
		return func() string { lines.Scan(); e := id + " " + lines.Text(); lines.Scan(); return e }
	}
	return func() (e string) {
		for lines.Scan() {
			switch text := lines.Text(); {
			case strings.HasPrefix(text, "id: "):
				e = strings.TrimSuffix(strings.TrimLeft(text[4:], "0"), "@log")
			case strings.HasPrefix(text, "event: "):
				return e + " " + text[7:]
			}
		}
		return ""
	}
}

func changes(from, to int, data string) *Changes {
	var b Changes
	for i := from; i <= to; i++ {
		b.Add(&event.Event{Sequence: event.Sequence(i)}, fmt.Sprint("e", i), data)
	}
	return &b
}

func TestEveryChangeArrivesInOrder(t *testing.T) {
	f, at := New("log", 0), new(atomic.Uint64)
	url := serve(t, f, at)
	next := read(t, url)
	const total = 3000
	go func() {
		for i := 1; i <= total; i += 3 {
			f.Publish("log", changes(i, i+2, "x"))
			if i%maxChanges > maxChanges-10 { // a reader that keeps up is never cut off
				time.Sleep(50 * time.Millisecond)
			}
		}
	}()
	missed := 0
	for i := 1; i <= total; i++ {
		got := next()
		if got == "" && missed < 100 { // cut off for being slow: it resumes
			missed++
			next = read(t, fmt.Sprintf("%s?after=%d", url, i-1))
			i--
			continue
		}
		if want := fmt.Sprintf("%d e%d", i, i); got != want {
			t.Fatalf("got %q, want %q", got, want)
		}
	}
}

// TestSlowReaderHoldsNobodyUp: what is published while a reader does not read
// is forgotten, and the reader is told by the end of its stream.
func TestSlowReaderHoldsNobodyUp(t *testing.T) {
	f, at := New("log", 0), new(atomic.Uint64)
	url := serve(t, f, at)
	slow := read(t, url)
	large := strings.Repeat("x", 100_000)
	for i := 1; i < 400; i++ { // more than any buffer between them
		f.Publish("log", changes(i, i, large))
	}
	last := 0
	for got := slow(); got != ""; got = slow() {
		last++
		if want := fmt.Sprintf("%d e%d", last, last); got != want {
			t.Fatalf("got %q, want %q", got, want)
		}
	}
	if last == 399 {
		t.Error("it got everything: the test did not overtake it")
	}
	if f.bytes > maxBytes || len(f.recent) > maxChanges {
		t.Errorf("%d changes of %d bytes are kept", len(f.recent), f.bytes)
	}
}

func TestResumingKnowsWhatIsForgotten(t *testing.T) {
	f, at := New("log", 10), new(atomic.Uint64)
	url := serve(t, f, at)
	at.Store(5000)
	f.Publish("log", changes(11, 10+maxChanges, "x"))
	for after, want := range map[int]string{9: "reset", 10: "e11", 11: "e12", 9 + maxChanges: fmt.Sprint("e", 10+maxChanges)} {
		if got := read(t, fmt.Sprintf("%s?after=%d", url, after))(); !strings.HasSuffix(got, want) {
			t.Errorf("after %d: %q, want %s", after, got, want)
		}
	}
	f.Publish("log", changes(11+maxChanges, 11+maxChanges, "x")) // the first is forgotten now
	for after, want := range map[int]string{10: "reset", 11: "e12"} {
		if got := read(t, fmt.Sprintf("%s?after=%d", url, after))(); !strings.HasSuffix(got, want) {
			t.Errorf("after %d: %q, want %s", after, got, want)
		}
	}
	f.Publish("log", changes(2000, 5000, "x")) // more than is kept: all that was before is forgotten, too
	for after, want := range map[int]string{1999: "reset", 5000 - maxChanges - 1: "reset", 5000 - maxChanges: fmt.Sprint("e", 5001-maxChanges)} {
		if got := read(t, fmt.Sprintf("%s?after=%d", url, after))(); !strings.HasSuffix(got, want) {
			t.Errorf("after %d: %q, want %s", after, got, want)
		}
	}
}

func TestBatchThatIsTooLongTellsFollowersToLoadAgain(t *testing.T) {
	f, at := New("log", 0), new(atomic.Uint64)
	next := read(t, serve(t, f, at))
	at.Store(70_000)
	f.Publish("log", changes(1, 70_000, "x"))
	if got := next(); got != "70000 reset" {
		t.Errorf("got %q", got)
	}
	f.Publish("log", changes(70_001, 70_001, "x"))
	if got := next(); got != "70001 e70001" {
		t.Errorf("got %q", got)
	}
}

// TestResumingInAnotherLogLoadsAgain: the sequence alone would fit.
func TestResumingInAnotherLogLoadsAgain(t *testing.T) {
	f, at := New("", 0), new(atomic.Uint64)
	url := serve(t, f, at)
	at.Store(20)
	early := read(t, url+"?after=10@old") // before the log is known here
	f.Publish("new", changes(1, 20, "x"))
	if got := early(); got != "20@new reset" {
		t.Errorf("told %q", got)
	}
	for after, want := range map[string]string{"10@old": "reset", "10@new": "11@new e11", "10": "11@new e11"} {
		if got := read(t, url+"?after="+after)(); !strings.HasSuffix(got, want) {
			t.Errorf("after %s: %q, want %s", after, got, want)
		}
	}
	f.Reset("newer", 5)
	if got := read(t, url+"?after=20@new")(); !strings.HasSuffix(got, "@newer reset") && !strings.HasSuffix(got, "@newer event: reset") {
		t.Errorf("told %q", got)
	}
	if got := read(t, url+"?after=4")(); !strings.HasSuffix(got, "reset") { // events up to 5 were never sent
		t.Errorf("told %q", got)
	}
}
