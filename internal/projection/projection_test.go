package projection_test

import (
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"

	"miniblog/internal/bus/bustest"
	"miniblog/internal/event"
	"miniblog/internal/projection"
	"miniblog/test/wait"
)

func TestLateJoinerSeesAllHistory(t *testing.T) {
	b := bustest.New(t)
	events, want := many(20_000)
	for frame := range slices.Chunk(events, 100) {
		b.Add(frame...)
	}
	v := start(t, b, t.TempDir())
	wait.For(t, "being ready", func() bool { return v.Ready() == nil })
	if v.titles(t) != want || v.Checkpoint() != 20_000 {
		t.Errorf("not all is there at checkpoint %d", v.Checkpoint())
	}
	b.Add(posts("new")...)
	v.expect(t, want+"new ")
}

// TestHistoryThatBreaksOffIsGoneOnWith: what arrived before is not fetched
// again, or a connection that never lasts would never bring all.
func TestHistoryThatBreaksOffIsGoneOnWith(t *testing.T) {
	b := bustest.New(t)
	const total = 10_000
	events, _ := many(total)
	b.Add(events...)
	b.Corrupt(func(body []byte) []byte { return body[:len(body)*2/3] })
	v := start(t, b, t.TempDir())
	wait.For(t, "a part of it", func() bool { return v.Checkpoint() > 0 })
	b.Corrupt(nil)
	wait.For(t, "the rest", func() bool { return v.Checkpoint() == total })
	told, _ := v.told()
	for i, s := range told {
		if s != event.Sequence(i+1) {
			t.Fatalf("event %d was applied after %d", s, i)
		}
	}
	if len(told) != total {
		t.Errorf("%d events were applied", len(told))
	}
}

func TestRestartGoesOnFromTheCheckpoint(t *testing.T) {
	b, dir := bustest.New(t), t.TempDir()
	b.Add(posts("a", "b")...)
	v := start(t, b, dir)
	v.expect(t, "a b ")
	v.stop()
	b.Add(posts("c")...)
	v = start(t, b, dir)
	v.expect(t, "a b c ")
	v.expectTold(t, 3)
}

func TestFolderBelongsToOneProcess(t *testing.T) {
	b, dir := bustest.New(t), t.TempDir()
	v := start(t, b, dir)
	if _, err := projection.Open(config(b, dir, &view{})); err == nil || !strings.Contains(err.Error(), "in use by another process") {
		t.Errorf("error %v", err)
	}
	v.stop()
	start(t, b, dir)
}

func TestNoEventIsLostWhenApplyingFails(t *testing.T) {
	b := bustest.New(t)
	v := &view{}
	v.failures.Store(3)
	b.Add(posts("a")...)
	v.run(t, config(b, t.TempDir(), v))
	v.expect(t, "a ")
	v.failures.Store(2)
	b.Add(posts("b", "c")...)
	v.expect(t, "a b c ")
	v.expectTold(t, 1, 2, 3)
}

func TestUnusableEventIsSkipped(t *testing.T) {
	b := bustest.New(t)
	bad := posts("bad", "worse")
	bad[0].Data = []byte(`{"id":{"a":1}}`)
	bad[1].Data = nil
	b.Add(posts("a")...)
	b.Add(bad...)
	b.Add(posts("b")...)
	v := start(t, b, t.TempDir())
	v.expect(t, "a b ")
	if v.Checkpoint() != 4 {
		t.Errorf("the checkpoint is %d", v.Checkpoint())
	}
}

func TestReadyMeansCaughtUpAndStays(t *testing.T) {
	b := bustest.New(t)
	b.Add(posts("a")...)
	v := &view{}
	v.failures.Store(1 << 30)
	v.run(t, config(b, t.TempDir(), v))
	wait.For(t, "a failure", func() bool { return v.failures.Load() < 1<<30 })
	if err := v.Ready(); err == nil {
		t.Error("ready before the log was applied")
	}
	v.failures.Store(0)
	wait.For(t, "being ready", func() bool { return v.Ready() == nil })
	b.Stop()
	v.failures.Store(0)
	if err := v.Ready(); err != nil {
		t.Errorf("not ready when the bus is away: %v", err)
	}
	b.Restart(t)
	b.Add(posts("b")...)
	v.expect(t, "a b ")
}

func TestAbsentBusIsLoggedOnce(t *testing.T) {
	var lines lockedBuffer
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&lines, nil)))
	defer slog.SetDefault(before)
	b := bustest.New(t)
	v := start(t, b, t.TempDir())
	wait.For(t, "being ready", func() bool { return v.Ready() == nil })
	b.Stop()
	wait.For(t, "a line of log", func() bool { return strings.Contains(lines.String(), "cannot be followed") })
	b.Restart(t)
	b.Add(posts("a")...)
	v.expect(t, "a ")
	wait.For(t, "a line of log", func() bool { return strings.Contains(lines.String(), "following the event bus again") })
	if n := strings.Count(lines.String(), "cannot be followed"); n != 1 {
		t.Errorf("it was logged %d times:\n%s", n, lines.String())
	}
}

type lockedBuffer struct {
	mu sync.Mutex
	strings.Builder
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Builder.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Builder.String()
}
