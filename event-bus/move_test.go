package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"miniblog/event-bus/cluster/natstest"
	"miniblog/event-bus/eventlog"
	"miniblog/internal/bus"
	"miniblog/internal/event"
	"miniblog/internal/projection"
	"miniblog/test/harness"
)

var movedEvents = flag.Int("moved-events", 20_000, "how many events are moved into a cluster and out again")

// TestALogMovesIntoAClusterAndOutAgain moves a log with a projection that follows
// it: same events, same places, same id, and the projection goes on.
func TestALogMovesIntoAClusterAndOutAgain(t *testing.T) {
	t.Parallel()
	servers := natstest.Start(t, natstest.Options{})
	alone, address := t.TempDir(), harness.FreeAddress(t)
	half := *movedEvents / 2
	fillQuietly(t, alone, half)

	b := startBusOn(t, alone, "ADDR", address)
	view := follow(t, "http://"+address)
	view.await(t, half)
	b.stop()
	inCluster := func(dir string) func(string) (string, bool) {
		return environment(t, "DATA_DIR", dir, "NATS_URL", servers.URL())
	}
	mustMove := func(dir, command, other, want string) {
		t.Helper()
		began := time.Now()
		if code, out, errs := runWith(inCluster(dir), command, other); code != 0 || !strings.Contains(out, want) {
			t.Fatalf("%s ended with %d: %s%s", command, code, out, errs)
		}
		t.Logf("%s took %v", command, time.Since(began).Round(time.Millisecond))
	}

	subscribers := map[string]string{ // what a bus that is alone keeps of each
		"a.json":        fmt.Sprintf(`{"log":%q,"cursor":"%020d","lastDelivered":"%020[2]d"}`, logID(t, alone), half),
		"b.json":        fmt.Sprintf(`{"log":%q,"cursor":"%020d","stopped":true}`, logID(t, alone), 7),
		"b.dead.ndjson": `{"sequence":"00000000000000000003","id":"x","time":"2026-11-20T15:00:00Z","attempts":20,"reason":"503","status":503,"answer":"no","event":` + strings.Split(dumped(t, alone), "\n")[2] + "}\n",
	}
	if err := os.MkdirAll(filepath.Join(alone, "subscribers"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range subscribers {
		if err := os.WriteFile(filepath.Join(alone, "subscribers", name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}

	first := t.TempDir()
	mustMove(first, "import", alone, fmt.Sprintf("to event %d; 0 events were there before", half))
	fillQuietly(t, alone, *movedEvents-half) // as if the import had been interrupted here
	mustMove(first, "import", alone, fmt.Sprintf("to event %d; %d events were there before", *movedEvents, half))
	want := dumped(t, alone)

	t.Run("every copy has the same events under the same id", func(t *testing.T) {
		for i, dir := range []string{first, t.TempDir(), t.TempDir()} {
			b := startBusOn(t, dir, "NATS_URL", servers.URL())
			got := b.lines(t, *movedEvents)
			b.stop()
			if got != want || logID(t, dir) != logID(t, alone) {
				t.Errorf("copy %d has another log: %d bytes of lines under the id %s, not %d under %s", i+1, len(got), logID(t, dir), len(want), logID(t, alone))
			}
		}
	})
	t.Run("no projection starts over", func(t *testing.T) {
		b := startBusOn(t, first, "NATS_URL", servers.URL(), "ADDR", address)
		b.publish(t, `{"type":"T","id":"in the cluster"}`)
		view.await(t, *movedEvents+1)
		b.stop()
	})
	t.Run("a copy is not published to outside of its cluster", func(t *testing.T) {
		if err := runOnce(t, "DATA_DIR", first); err == nil || !strings.Contains(err.Error(), "it is a copy of a cluster's log") {
			t.Errorf("it started: %v", err)
		}
	})
	t.Run("another log does not go into the stream", func(t *testing.T) {
		other := t.TempDir()
		fill(t, other, 3)
		refuse := func(dir, want string) {
			t.Helper()
			if code, out, errs := runWith(inCluster(t.TempDir()), "import", dir); code != 1 || !strings.Contains(errs, want) {
				t.Errorf("import ended with %d: %s%s", code, out, errs)
			}
		}
		refuse(other, "have a stream with the log "+logID(t, alone)+" already")
		if err := os.WriteFile(filepath.Join(other, "id"), []byte(logID(t, alone)+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		refuse(other, fmt.Sprintf("the stream has %d events that are not the first ones of %s", *movedEvents+1, other))
	})
	t.Run("the way back", func(t *testing.T) {
		back := filepath.Join(t.TempDir(), "back")
		mustMove(t.TempDir(), "export", back, fmt.Sprintf("to event %d", *movedEvents+1))
		if logID(t, back) != logID(t, alone) || !strings.HasPrefix(dumped(t, back), want) {
			t.Error("it is another log")
		}
		for name, want := range subscribers {
			got, err := os.ReadFile(filepath.Join(back, "subscribers", name))
			if err != nil || strings.TrimSpace(string(got)) != strings.TrimSpace(want) {
				t.Errorf("subscribers/%s was %s, and is now %s, %v", name, want, got, err)
			}
		}
		b := startBusOn(t, back, "ADDR", address)
		b.publish(t, `{"type":"T","id":"in the cluster"}`) // stored already
		b.publish(t, `{"type":"T","id":"back alone"}`)
		view.await(t, *movedEvents+2)
		b.stop()
	})
	t.Run("without its servers a copy is exported as it is", func(t *testing.T) {
		back := filepath.Join(t.TempDir(), "back")
		code, out, errs := runWith(environment(t, "DATA_DIR", first), "export", back)
		if code != 0 || !strings.Contains(out, fmt.Sprintf("to event %d", *movedEvents+1)) {
			t.Fatalf("export ended with %d: %s%s", code, out, errs)
		}
		if got := dumped(t, back); got != dumped(t, first) {
			t.Error("it has other events")
		}
		if code, _, errs := runWith(environment(t, "DATA_DIR", first), "export", back); code != 1 || !strings.Contains(errs, "is there already") {
			t.Errorf("export over a log ended with %d: %s", code, errs)
		}
	})
	if n := view.dropped.Load(); n > 0 {
		t.Errorf("the projection started over %d times", n)
	}
}

func TestMovesThatCannotBe(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	fill(t, dir, 3)
	for what, test := range map[string]struct {
		env, args []string
		want      string
	}{
		"import without servers":         {nil, []string{"import", dir}, "NATS_URL must say into which servers' stream"},
		"import of nothing":              {[]string{"NATS_URL", "nats://127.0.0.1:1"}, []string{"import", t.TempDir()}, "there is no log in"},
		"import of the copy itself":      {[]string{"NATS_URL", "nats://127.0.0.1:1", "DATA_DIR", dir}, []string{"import", dir}, "this is the log to import"},
		"export of nothing":              {nil, []string{"export", filepath.Join(t.TempDir(), "to")}, "there is no log in"},
		"export over a folder":           {[]string{"DATA_DIR", dir}, []string{"export", t.TempDir()}, "is there already"},
		"export to where nothing can be": {[]string{"DATA_DIR", dir}, []string{"export", "/proc/none/to"}, "/proc/none"},
	} {
		if code, _, errs := runWith(environment(t, test.env...), test.args...); code != 1 || !strings.Contains(errs, test.want) {
			t.Errorf("%s ended with %d: %s", what, code, errs)
		}
	}
}

// fillQuietly appends n events, that have subjects and some text, in batches of
// a thousand.
func fillQuietly(t *testing.T, dir string, n int) {
	t.Helper()
	log, err := eventlog.Open(dir, eventlog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	for from := 0; from < n; from += 1000 {
		var batch []event.Line
		for i := from; i < min(n, from+1000); i++ {
			e := event.New(event.NewID(), "/test", "T", fmt.Sprintf("subject %d", i%100), map[string]string{"text": strings.Repeat("some text ", i%20)})
			line, err := event.NewLine(&e)
			if err != nil {
				t.Fatal(err)
			}
			batch = append(batch, line)
		}
		if _, err := log.Append(t.Context(), batch); err != nil {
			t.Fatal(err)
		}
	}
}

// dumped returns what event-bus dump prints.
func dumped(t *testing.T, dir string) string {
	t.Helper()
	code, out, errs := run("dump", dir)
	if code != 0 {
		t.Fatalf("dump ended with %d: %s", code, errs)
	}
	return out
}

// lines returns the bus's whole log once it has n events.
func (b *runningBus) lines(t *testing.T, n int) (text string) {
	t.Helper()
	harness.Eventually(t, time.Minute, func() error {
		request, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+b.addr+"/events", nil)
		if err != nil {
			return err
		}
		request.Header.Set("Accept", "application/x-ndjson")
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			return err
		}
		defer answer.Body.Close()
		all, err := io.ReadAll(answer.Body)
		if text = string(all); err == nil && strings.Count(text, "\n") < n {
			err = fmt.Errorf("it has %d events of %d", strings.Count(text, "\n"), n)
		}
		return err
	})
	http.DefaultClient.CloseIdleConnections()
	return text
}

func (b *runningBus) publish(t *testing.T, body string) {
	t.Helper()
	answer, err := http.Post("http://"+b.addr+"/events", "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		t.Fatalf("publishing was answered %s", answer.Status)
	}
	http.DefaultClient.CloseIdleConnections()
}

// view is a projection of the log.
type view struct {
	*projection.Projection
	applied, dropped atomic.Int64
}

// follow starts a projection that follows the bus until the test ends.
func follow(t *testing.T, url string) *view {
	t.Helper()
	v := &view{}
	client := bus.New(url)
	var err error
	v.Projection, err = projection.Open(projection.Config{
		Dir: t.TempDir(), Bus: client, Schema: "CREATE TABLE events (sequence INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE)",
		Apply: func(tx *projection.Tx, events []event.Event) error {
			for _, e := range events {
				if err := tx.Exec("INSERT INTO events VALUES (?, ?)", e.Sequence, e.ID); err != nil {
					return err // it was applied before
				}
			}
			v.applied.Add(int64(len(events)))
			return nil
		},
		Dropped: func(string, event.Sequence) { v.dropped.Add(1) },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- v.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		<-ended
		client.Close()
		if err := v.Close(); err != nil {
			t.Error(err)
		}
	})
	return v
}

// await waits until the projection is at event n, and makes sure that it has
// applied each once.
func (v *view) await(t *testing.T, n int) {
	t.Helper()
	harness.Eventually(t, time.Minute, func() error {
		if at := v.Checkpoint(); at != event.Sequence(n) {
			return fmt.Errorf("the projection is at event %d, not %d", at, n)
		}
		return nil
	})
	if got := v.applied.Load(); got != int64(n) {
		t.Errorf("the projection has applied %d events to be at event %d", got, n)
	}
}
