package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"miniblog/event-bus/eventlog"
	"miniblog/event-bus/eventlog/logtest"
	"miniblog/internal/event"
)

// run runs an offline command.
func run(args ...string) (code int, out, errs string) { return runWith(os.LookupEnv, args...) }

// runWith runs it in an environment.
func runWith(lookup func(string) (string, bool), args ...string) (code int, out, errs string) {
	var o, e bytes.Buffer
	code = offline(args, lookup, &o, &e)
	return code, o.String(), e.String()
}

// fill appends batches of so many events to the log in dir and returns all of
// its lines.
func fill(t testing.TB, dir string, batches ...int) (lines string) {
	t.Helper()
	log, err := eventlog.Open(dir, eventlog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	for _, n := range batches {
		var batch []event.Line
		for i := range n {
			line, err := event.NewLine(&event.Event{SpecVersion: "1.0", ID: event.NewID(), Source: "/s", Type: "T",
				Time: "2026-11-20T15:00:00Z", Data: fmt.Appendf(nil, `{"n":%d}`, i)})
			if err != nil {
				t.Fatal(err)
			}
			batch = append(batch, line)
		}
		if _, err := log.Append(t.Context(), batch); err != nil {
			t.Fatal(err)
		}
	}
	reader := log.Reader(0)
	defer reader.Close()
	for {
		b, err := reader.Next()
		if err != nil {
			t.Fatal(err)
		}
		if b.Count == 0 {
			return lines
		}
		lines += string(b.Text)
	}
}

func TestVerifyAndDumpOfAGoodLog(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	lines := fill(t, dir, 25)

	t.Run("not while the bus runs on it", func(t *testing.T) {
		b := startBusOn(t, dir)
		defer b.stop()
		for _, name := range []string{"verify", "dump", "repair"} {
			if code, _, errs := run(name, dir); code != 1 || !strings.Contains(errs, "another event-bus has this log open; stop it first") {
				t.Errorf("%s ended with %d: %s", name, code, errs)
			}
		}
	})
	code, out, errs := run("verify", dir)
	if code != 0 || errs != "" || !strings.HasPrefix(out, "00000000000000000001.active.zst  events 1 to 25, ") || !strings.Contains(out, fmt.Sprintf("25 events hold: %d bytes, ", len(lines))) {
		t.Errorf("verify ended with %d: %s%s", code, out, errs)
	}
	if code, out, errs = run("dump", dir); code != 0 || out != lines || errs != "" {
		t.Errorf("dump ended with %d: %.300s%s", code, out, errs)
	}
	if code, out, errs = run("repair", dir); code != 0 || out != "Nothing is damaged; nothing was changed.\n" || errs != "" {
		t.Errorf("repair ended with %d: %s%s", code, out, errs)
	}
	if after := fill(t, dir); after != lines {
		t.Error("the log has changed")
	}
}

func TestTornBatchIsNoDamage(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	fill(t, dir, 5, 5)
	text, err := os.ReadFile(logtest.Segment(t, dir))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(logtest.Segment(t, dir), text[:len(text)-7], 0o644); err != nil {
		t.Fatal(err)
	}
	code, out, errs := run("verify", dir)
	if code != 0 || errs != "" || !strings.Contains(out, "events 1 to 5, ") || !strings.Contains(out, "bytes of a batch that was never acknowledged") {
		t.Errorf("verify ended with %d: %s%s", code, out, errs)
	}
	if left, _ := os.ReadFile(logtest.Segment(t, dir)); len(left) != len(text)-7 {
		t.Error("verify has changed the log")
	}
}

func TestDamageIsFoundAndRepaired(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	fill(t, dir, 100, 100, 100)
	id := logID(t, dir)
	logtest.Damage(t, dir, 0.5)
	for _, name := range []string{"verify", "dump"} {
		code, out, errs := run(name, dir)
		if code != 1 || !strings.Contains(errs, "where event 101 should be") ||
			!strings.Contains(errs, fmt.Sprintf("run \"event-bus repair %s\" to keep the events before 101 and give up the rest", dir)) || strings.Contains(out, "hold") {
			t.Errorf("%s ended with %d: %.300s%s", name, code, out, errs)
		}
	}
	code, out, errs := run("repair", dir)
	if code != 0 || errs != "" || !strings.HasPrefix(out, "Kept the events up to 100. What was taken away is in "+filepath.Join(dir, "damaged-")) {
		t.Fatalf("repair ended with %d: %s%s", code, out, errs)
	}
	if code, out, errs = run("verify", dir); code != 0 || !strings.Contains(out, "100 events hold") {
		t.Errorf("verify ended with %d: %s%s", code, out, errs)
	}
	if logID(t, dir) == id {
		t.Error("the log has lost events and kept its id: nobody would notice")
	}
	if n := strings.Count(fill(t, dir, 1), "\n"); n != 101 {
		t.Errorf("with a new event there are %d", n)
	}
}

// logID returns the id of the log in dir.
func logID(t testing.TB, dir string) string {
	t.Helper()
	log, err := eventlog.Open(dir, eventlog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	return log.ID()
}

func TestCommandThatIsNotOne(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"verify"}, {"help"}, {"verify", "a", "b"}, {"erase", t.TempDir()}, {""}} {
		if code, out, errs := run(args...); code != 2 || out != "" || errs != usage {
			t.Errorf("%q ended with %d: %s%s", args, code, out, errs)
		}
	}
	for _, name := range []string{"verify", "dump", "repair"} {
		if code, _, errs := run(name, "/nowhere"); code != 1 || !strings.HasPrefix(errs, "event-bus "+name+": ") {
			t.Errorf("%s of nothing ended with %d: %s", name, code, errs)
		}
		dir := t.TempDir()
		if code, out, errs := run(name, dir); code != 1 || !strings.Contains(errs, "there is no log in "+dir) {
			t.Errorf("%s of an empty folder ended with %d: %s%s", name, code, out, errs)
		}
		if files, _ := os.ReadDir(dir); len(files) > 0 {
			t.Errorf("%s left %v behind", name, files)
		}
	}
}

// full is an output that ends, as a pipe to head does.
type full struct{ left int }

func (f *full) Write(p []byte) (int, error) {
	if len(p) > f.left {
		return 0, os.ErrClosed
	}
	f.left -= len(p)
	return len(p), nil
}

func TestDumpSaysWhenItCouldNotWriteAll(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	fill(t, dir, 5, 500)
	var errs bytes.Buffer
	if code := offline([]string{"dump", dir}, os.LookupEnv, &full{4000}, &errs); code != 1 || !strings.Contains(errs.String(), "event-bus dump: ") {
		t.Errorf("dump ended with %d: %s", code, errs.String())
	}
}
