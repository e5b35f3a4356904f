package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// command runs an offline command.
func command(args ...string) (code int, out, errs string) {
	var o, e bytes.Buffer
	code = offline(args, &o, &e)
	return code, o.String(), e.String()
}

func TestVerifyAndDumpOfAGoodLog(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	b.fill("A", 25)
	lines := b.send("GET", "/events", "", "Accept", "application/x-ndjson").body

	t.Run("not while the bus runs on it", func(t *testing.T) {
		for _, name := range []string{"verify", "dump", "repair"} {
			if code, _, errs := command(name, b.dir); code != 1 || !strings.Contains(errs, "another event-bus has this log open; stop it first") {
				t.Errorf("%s ended with %d: %s", name, code, errs)
			}
		}
	})
	b.stop()
	code, out, errs := command("verify", b.dir)
	if code != 0 || errs != "" || !strings.HasPrefix(out, "00000000000000000001.active.zst  events 1 to 25, ") || !strings.Contains(out, fmt.Sprintf("25 events hold: %d bytes, ", len(lines))) {
		t.Errorf("verify ended with %d: %s%s", code, out, errs)
	}
	if code, out, errs = command("dump", b.dir); code != 0 || out != lines || errs != "" {
		t.Errorf("dump ended with %d: %.300s%s", code, out, errs)
	}
	if code, out, errs = command("repair", b.dir); code != 0 || out != "Nothing is damaged; nothing was changed.\n" || errs != "" {
		t.Errorf("repair ended with %d: %s%s", code, out, errs)
	}
	if after := b.restart(); len(after.events()) != 25 {
		t.Error("the log has changed")
	}
}

func TestTornBatchIsNoDamage(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	b.fill("A", 5)
	b.fill("A", 5)
	b.stop()
	text, err := os.ReadFile(segment(t, b.dir))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(segment(t, b.dir), text[:len(text)-7], 0o644); err != nil {
		t.Fatal(err)
	}
	code, out, errs := command("verify", b.dir)
	if code != 0 || errs != "" || !strings.Contains(out, "events 1 to 5, ") || !strings.Contains(out, "bytes of a batch that was never acknowledged") {
		t.Errorf("verify ended with %d: %s%s", code, out, errs)
	}
	if left, _ := os.ReadFile(segment(t, b.dir)); len(left) != len(text)-7 {
		t.Error("verify has changed the log")
	}
}

func TestDamageIsFoundAndRepaired(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	b.fill("A", 100)
	b.fill("B", 100)
	b.fill("C", 100)
	id := b.send("GET", "/events?limit=1", "").header.Get("Event-Log")
	b.stop()
	damage(t, b.dir, 0.5)
	for _, name := range []string{"verify", "dump"} {
		code, out, errs := command(name, b.dir)
		if code != 1 || !strings.Contains(errs, "where event 101 should be") ||
			!strings.Contains(errs, fmt.Sprintf("run \"event-bus repair %s\" to keep the events before 101 and give up the rest", b.dir)) || strings.Contains(out, "hold") {
			t.Errorf("%s ended with %d: %.300s%s", name, code, out, errs)
		}
	}
	code, out, errs := command("repair", b.dir)
	if code != 0 || errs != "" || !strings.HasPrefix(out, "Kept the events up to 100. What was taken away is in "+filepath.Join(b.dir, "damaged-")) {
		t.Fatalf("repair ended with %d: %s%s", code, out, errs)
	}
	if code, out, errs = command("verify", b.dir); code != 0 || !strings.Contains(out, "100 events hold") {
		t.Errorf("verify ended with %d: %s%s", code, out, errs)
	}
	b = b.restart()
	if got := b.send("GET", "/events?limit=1", "").header.Get("Event-Log"); got == id {
		t.Error("the log has lost events and kept its id: nobody would notice")
	}
	if all := b.events(); len(all) != 100 || b.post("application/json", `{"type":"T"}`).Sequence != 101 {
		t.Errorf("%d events are left", len(all))
	}
}

func TestCommandThatIsNotOne(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"verify"}, {"help"}, {"verify", "a", "b"}, {"erase", t.TempDir()}, {""}} {
		if code, out, errs := command(args...); code != 2 || out != "" || errs != usage {
			t.Errorf("%q ended with %d: %s%s", args, code, out, errs)
		}
	}
	for _, name := range []string{"verify", "dump", "repair"} {
		if code, _, errs := command(name, "/nowhere"); code != 1 || !strings.HasPrefix(errs, "event-bus "+name+": ") {
			t.Errorf("%s of nothing ended with %d: %s", name, code, errs)
		}
		dir := t.TempDir()
		if code, out, errs := command(name, dir); code != 1 || !strings.Contains(errs, "there is no log in "+dir) {
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
	b := startBus(t)
	b.fill("A", 5)
	b.fill("A", 500)
	b.stop()
	var errs bytes.Buffer
	if code := offline([]string{"dump", b.dir}, &full{4000}, &errs); code != 1 || !strings.Contains(errs.String(), "event-bus dump: ") {
		t.Errorf("dump ended with %d: %s", code, errs.String())
	}
}
