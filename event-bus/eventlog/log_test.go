package eventlog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"miniblog/internal/event"
)

var quiet = slog.New(slog.DiscardHandler)

// testEvent is an event as Append takes it, and its id.
type testEvent struct {
	ID   string
	Line event.Line
}

func eventLines(es []testEvent) (lines []event.Line) {
	for _, e := range es {
		lines = append(lines, e.Line)
	}
	return lines
}

func record(t testing.TB, id, content string) testEvent {
	t.Helper()
	e := event.New(id, "/test", "Test", "subject", map[string]string{"content": content})
	line, err := event.NewLine(&e)
	if err != nil {
		t.Fatal(err)
	}
	return testEvent{ID: id, Line: line}
}

func records(t testing.TB, from, n int) (rs []testEvent) {
	for i := range n {
		rs = append(rs, record(t, fmt.Sprintf("event-%d", from+i), strings.Repeat("text ", i%50)))
	}
	return rs
}

func mustOpen(t testing.TB, dir string, o Options) *Log {
	t.Helper()
	if o.Logger == nil {
		o.Logger = quiet
	}
	l, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func mustAppend(t testing.TB, l *Log, rs []testEvent) []Position {
	t.Helper()
	positions, err := l.Append(t.Context(), eventLines(rs))
	if err != nil {
		t.Fatal(err)
	}
	return positions
}

func mustClose(t testing.TB, l *Log) {
	t.Helper()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

// readAll returns the ids of all events after the given one, and checks that
// their sequences have no gap.
func readAll(t testing.TB, l *Log, after event.Sequence) (ids []string) {
	t.Helper()
	for r := l.Reader(after); ; {
		b, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		if b.Count == 0 {
			return ids
		}
		for line := range b.Lines() {
			ids = append(ids, checkLine(t, line, after+event.Sequence(len(ids))+1))
		}
	}
}

func checkLine(t testing.TB, line []byte, want event.Sequence) string {
	t.Helper()
	head, ok := event.ReadLine(line)
	if !ok || head.Sequence() != want {
		t.Fatalf("event %d is %q", want, line)
	}
	return string(head.ID())
}

func idsOf(rs []testEvent) (ids []string) {
	for _, r := range rs {
		ids = append(ids, r.ID)
	}
	return ids
}

func TestWhatWasAppendedIsThereAfterReopen(t *testing.T) {
	dir := t.TempDir()
	l := mustOpen(t, dir, Options{SegmentBytes: 20 << 10})
	var want []string
	for i := range 100 {
		rs := records(t, i*10, 1+i%10)
		mustAppend(t, l, rs)
		want = append(want, idsOf(rs)...)
	}
	check := func(l *Log) {
		t.Helper()
		if got := readAll(t, l, 0); !slices.Equal(got, want) {
			t.Fatalf("read %d events, want %d", len(got), len(want))
		}
		for after := range event.Sequence(len(want)) {
			b, err := l.Reader(after).Next()
			if err != nil || b.First != after+1 {
				t.Fatalf("reading after %d starts with %d, %v", after, b.First, err)
			}
		}
	}
	check(l)
	id := l.ID()
	waitSealed(t, l)
	check(l)
	mustClose(t, l)
	l = mustOpen(t, dir, Options{})
	defer mustClose(t, l)
	check(l)
	if l.ID() != id {
		t.Errorf("the log's id changed from %s to %s", id, l.ID())
	}
	if _, segments := l.Size(); segments < 3 {
		t.Errorf("only %d segments: nothing was rolled", segments)
	}
}

// TestWhatIsWantedIsRead holds that decoding only a part of a frame gives the
// same events as decoding all of it, in frames of all lengths.
func TestWhatIsWantedIsRead(t *testing.T) {
	dir := t.TempDir()
	l := mustOpen(t, dir, Options{SegmentBytes: 300 << 10})
	const events = 1500
	var stored []event.Line
	for from := 0; from < events; from += 300 {
		es := records(t, from, 300)
		mustAppend(t, l, es)
		stored = append(stored, eventLines(es)...)
	}
	waitSealed(t, l)
	mustClose(t, l)
	l = mustOpen(t, dir, Options{}) // which has nothing in memory
	defer mustClose(t, l)
	for after := 0; after < events; after += 7 {
		for _, wanted := range []int{1, 2, 50, 250, 10 * events} {
			r := l.Reader(event.Sequence(after))
			r.Want(uint64(wanted))
			b, err := r.Next()
			if err != nil {
				t.Fatalf("%d events after %d: %v", wanted, after, err)
			}
			if b.First != event.Sequence(after+1) {
				t.Fatalf("%d events after %d begin with %d", wanted, after, b.First)
			}
			if b.Count == 0 || b.Count > wanted {
				t.Fatalf("%d events after %d are %d", wanted, after, b.Count)
			}
			at := after
			for line := range b.Lines() {
				if want := stored[at].Append(nil, event.Sequence(at+1)); !bytes.Equal(line, want) {
					t.Fatalf("%d events after %d: %q stands where %q was stored", wanted, after, line, want)
				}
				at++
			}
			if at != after+b.Count {
				t.Fatalf("%d events after %d: %d lines for %d events", wanted, after, at-after, b.Count)
			}
			r.Close()
		}
	}
}

// waitSealed waits until every full segment is sealed.
func waitSealed(t testing.TB, l *Log) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for len(l.unsealed()) > 0 {
		if time.Now().After(deadline) {
			t.Fatal("segments were not sealed")
		}
		time.Sleep(time.Millisecond)
	}
}

func TestConcurrentPublishersKeepTheirOrder(t *testing.T) {
	l := mustOpen(t, t.TempDir(), Options{})
	defer mustClose(t, l)
	var wg sync.WaitGroup
	for p := range 16 {
		wg.Go(func() {
			last := event.Sequence(0)
			for i := range 50 {
				positions, err := l.Append(context.Background(), []event.Line{record(t, fmt.Sprintf("%d-%d", p, i), "x").Line})
				if err != nil {
					t.Errorf("publisher %d, event %d: %v", p, i, err)
					return
				}
				if positions[0].Duplicate {
					t.Errorf("publisher %d, event %d is said to be stored already", p, i)
				}
				if positions[0].Sequence <= last {
					t.Errorf("publisher %d, event %d: its sequence %d comes after %d", p, i, positions[0].Sequence, last)
				}
				last = positions[0].Sequence
			}
		})
	}
	wg.Wait()
	if got := readAll(t, l, 0); len(got) != 16*50 {
		t.Errorf("%d events, want %d", len(got), 16*50)
	}
}

func TestAnIdIsStoredOnce(t *testing.T) {
	dir := t.TempDir()
	l := mustOpen(t, dir, Options{})
	mustAppend(t, l, records(t, 0, 3))
	check := func(name string, rs []testEvent, want ...Position) {
		t.Helper()
		if got := mustAppend(t, l, rs); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
	check("alone", records(t, 1, 1), Position{2, true})
	check("all", records(t, 0, 3), Position{1, true}, Position{2, true}, Position{3, true})
	check("some", records(t, 2, 2), Position{3, true}, Position{4, false})
	check("twice in one batch", append(records(t, 7, 1), records(t, 7, 1)...), Position{5, false}, Position{5, true})
	mustClose(t, l)
	l = mustOpen(t, dir, Options{})
	defer mustClose(t, l)
	check("after a restart", records(t, 0, 1), Position{1, true})
	if l.Last() != 5 {
		t.Errorf("%d events, want 5", l.Last())
	}
}

func TestFramesAreTheEventsAsTheyAreOnDisk(t *testing.T) {
	l := mustOpen(t, t.TempDir(), Options{SegmentBytes: 30 << 10})
	defer mustClose(t, l)
	for i := range 40 {
		mustAppend(t, l, records(t, i*20, 20))
	}
	waitSealed(t, l)
	for _, c := range []struct {
		after event.Sequence
		limit uint64
	}{{0, 1 << 40}, {0, 1}, {0, 20}, {5, 10}, {5, 15}, {5, 300}, {19, 1}, {399, 401}, {799, 5}, {800, 5}, {9999, 5}, {0, 0}} {
		f, err := l.Frames(c.after, c.limit, nil)
		if err != nil {
			t.Fatal(err)
		}
		var file bytes.Buffer
		n, err := f.WriteTo(&file)
		f.Close()
		if err != nil {
			t.Fatalf("after %d limit %d: %v", c.after, c.limit, err)
		}
		if n != f.Size {
			t.Fatalf("after %d limit %d: wrote %d of %d bytes", c.after, c.limit, n, f.Size)
		}
		d, err := zstd.NewReader(&file)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(d)
		d.Close()
		if err != nil {
			t.Fatal(err)
		}
		want := min(uint64(max(800, c.after)-c.after), c.limit)
		got := uint64(0)
		for line := range (Batch{Text: text}).Lines() {
			got++
			checkLine(t, line, c.after+event.Sequence(got))
		}
		if got != want || f.Last != c.after+event.Sequence(want) {
			t.Errorf("after %d limit %d: %d events up to %d, want %d", c.after, c.limit, got, f.Last, want)
		}
	}
}

func TestSecondProcessIsKeptOut(t *testing.T) {
	dir := t.TempDir()
	l := mustOpen(t, dir, Options{})
	defer mustClose(t, l)
	if _, err := Open(dir, Options{Logger: quiet}); err == nil || !strings.Contains(err.Error(), "stop it first") {
		t.Errorf("opening it twice: %v", err)
	}
}

func TestBeyondTellsWhenSomethingCame(t *testing.T) {
	l := mustOpen(t, t.TempDir(), Options{})
	defer mustClose(t, l)
	beyond := l.Beyond(0)
	select {
	case <-beyond:
		t.Fatal("an empty log says that it has an event")
	default:
	}
	mustAppend(t, l, records(t, 0, 1))
	<-beyond
	<-l.Beyond(0)
}

func TestNothingComesAfterTheLastSequenceThereCanBe(t *testing.T) {
	l := mustOpen(t, t.TempDir(), Options{})
	defer mustClose(t, l)
	mustAppend(t, l, records(t, 0, 3))
	const last = ^event.Sequence(0)
	if got := readAll(t, l, last); len(got) != 0 {
		t.Errorf("%d events come after %d", len(got), last)
	}
	frames, err := l.Frames(last, 10, nil)
	if err != nil {
		t.Fatal(err)
	}
	if frames.Size != 0 {
		t.Errorf("frames of %d bytes come after %d", frames.Size, last)
	}
	select {
	case <-l.Beyond(last):
		t.Errorf("there is something beyond %d", last)
	default:
	}
}

func TestBatchThatCouldNotBeReadBackIsNotStored(t *testing.T) {
	l := mustOpen(t, t.TempDir(), Options{})
	defer mustClose(t, l)
	half := make([]byte, maxLines/2) // most of it never touched, and so not even in memory
	copy(half, record(t, "a", "").Line.Text())
	half[len(half)-1] = '}'
	line, ok := event.ReadLine(half)
	if !ok {
		t.Fatal("it is no line")
	}
	_, err := l.Append(t.Context(), []event.Line{line, line})
	if err == nil {
		t.Error("a batch that is too large was stored")
	}
	if errors.Is(err, ErrReadOnly) {
		t.Errorf("a batch that is too large made the log read-only: %v", err)
	}
	mustAppend(t, l, records(t, 0, 1))
	if l.Last() != 1 {
		t.Errorf("%d events are stored, want 1", l.Last())
	}
}
