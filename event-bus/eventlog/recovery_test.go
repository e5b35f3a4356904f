package eventlog

import (
	"slices"
	"testing"

	"miniblog/event-bus/eventlog/crashfs"
)

// traceUntil runs events through small segments and returns the trace up to
// the first step of that name, and what was promised until then.
func traceUntil(t *testing.T, step string) ([]crashfs.Entry, *promise) {
	t.Helper()
	disk := crashfs.New()
	w, err := openWorld(disk, crashFolder{disk}, 1<<10)
	if err != nil {
		t.Fatal(err)
	}
	if err := inOrder(w, quoted(300), quoted(900), `"next"`); err != nil {
		t.Fatal(err)
	}
	if err := w.sealed(); err != nil {
		t.Fatal(err)
	}
	mustClose(t, w.log)
	trace := disk.Trace()
	end := slices.IndexFunc(trace, func(e crashfs.Entry) bool { return e.What == step }) + 1
	if end == 0 {
		t.Fatalf("nothing did %q:\n%s", step, listed(trace))
	}
	p := &promise{}
	for _, e := range trace[:end] {
		if err := p.apply(e.Note); err != nil {
			t.Fatal(err)
		}
	}
	return trace[:end], p
}

// crashAllAt crashes at the last step of a trace in every way, and after that
// at every step of the recovery.
func crashAllAt(t *testing.T, trace []crashfs.Entry, p *promise) {
	t.Helper()
	c := newCrasher(newRandom(t))
	c.ways, c.points = [depth]int{1e6, 1e6, 1}, [depth]int{0, 0, 1}
	if err := c.crash(trace[len(trace)-1:], p, 0, nil); err != nil {
		t.Fatal(err)
	}
}

// A process was killed when it had given a sealed segment its name, which was
// not durable yet; the next one removed the active form; the power failed.
func TestNameThatIsNotDurableIsNotReliedOn(t *testing.T) {
	trace, p := traceUntil(t, "rename "+sealedName(1)+tempSuffix+" to "+sealedName(1))
	crashAllAt(t, trace, p)
}

// A first start stopped before the log's id had its name: the next start
// removed the half-written file twice, and failed.
func TestStartThatWasCutShortIsNoObstacle(t *testing.T) {
	trace, p := traceUntil(t, "create "+idFile+tempSuffix)
	crashAllAt(t, trace, p)
}
