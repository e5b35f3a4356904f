package cluster_test

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"miniblog/event-bus/cluster"
	"miniblog/event-bus/cluster/natstest"
	"miniblog/event-bus/eventlog"
	"miniblog/internal/event"
)

func line(t testing.TB, id, content string) event.Line {
	t.Helper()
	e := event.New(id, "/test", "Test", "subject", map[string]string{"content": content})
	line, err := event.NewLine(&e)
	if err != nil {
		t.Fatal(err)
	}
	return line
}

func lines(t testing.TB, prefix string, n int) (all []event.Line) {
	for i := range n {
		all = append(all, line(t, fmt.Sprintf("%s-%d", prefix, i), strings.Repeat("text ", i%20)))
	}
	return all
}

var quiet = slog.New(slog.DiscardHandler)

func open(t testing.TB, servers *natstest.Cluster, dir string) *cluster.Log {
	t.Helper()
	l, err := cluster.Open(t.Context(), cluster.Config{Servers: servers.URL(), Dir: dir, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func closeLog(t testing.TB, l *cluster.Log) {
	t.Helper()
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

func mustAppend(t testing.TB, l *cluster.Log, lines []event.Line) []eventlog.Position {
	t.Helper()
	positions, err := l.Append(t.Context(), lines)
	if err != nil {
		t.Fatal(err)
	}
	return positions
}

// mustStore is mustAppend for a machine that has much to do: what was not
// answered in time is sent again, with the same ids.
func mustStore(t testing.TB, l *cluster.Log, lines []event.Line) (positions []eventlog.Position) {
	t.Helper()
	waitFor(t, "events are stored", func() bool {
		var err error
		positions, err = l.Append(t.Context(), lines)
		if err != nil && !errors.Is(err, eventlog.ErrUnavailable) {
			t.Error(err)
			return true
		}
		return err == nil
	})
	return positions
}

// text returns the whole log as this copy knows it, to its end.
func text(t testing.TB, l *cluster.Log) string {
	t.Helper()
	waitFor(t, "the copy knows the log to its end", func() bool {
		if err := l.Failure(); err != nil {
			t.Fatal(err)
		}
		_, err := l.End(t.Context())
		return err == nil
	})
	r := l.Reader(0)
	defer r.Close()
	var all strings.Builder
	for {
		b, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		if b.Count == 0 {
			return all.String()
		}
		all.Write(b.Text)
	}
}

// mustBeEqual makes sure that copies hold the same events, n of them, and
// returns them.
func mustBeEqual(t testing.TB, n int, copies ...*cluster.Log) string {
	t.Helper()
	want := text(t, copies[0])
	if got := strings.Count(want, "\n"); got != n {
		t.Fatalf("%d events are stored, want %d", got, n)
	}
	for i, l := range copies[1:] {
		if text(t, l) != want {
			t.Fatalf("copy %d differs from copy 1", i+2)
		}
		if l.ID() != copies[0].ID() {
			t.Fatalf("copy %d is the log %s, copy 1 is %s", i+2, l.ID(), copies[0].ID())
		}
	}
	return want
}

func TestCopiesOnThreeServers(t *testing.T) {
	t.Parallel() // most of it is waiting
	servers := natstest.Start(t, natstest.Options{})
	dirs := []string{t.TempDir(), t.TempDir(), t.TempDir()}
	copies := make([]*cluster.Log, 3)
	var starting sync.WaitGroup
	for i := range copies {
		starting.Go(func() { copies[i] = open(t, servers, dirs[i]) })
	}
	starting.Wait()
	if t.Failed() {
		return
	}
	defer func() {
		for _, l := range copies {
			closeLog(t, l)
		}
	}()
	stored := 0
	store := func(n int) int { stored += n; return stored }

	t.Run("each server syncs each message", func(t *testing.T) {
		for _, s := range servers.Servers {
			var jsz struct {
				Config struct {
					SyncAlways bool `json:"sync_always"`
				} `json:"config"`
			}
			if err := s.Get("/jsz", &jsz); err != nil || !jsz.Config.SyncAlways {
				t.Errorf("%s: sync_always is %v, %v", s.URL, jsz.Config.SyncAlways, err)
			}
		}
	})
	t.Run("copies that begin at once agree on the log", func(t *testing.T) {
		for i, l := range copies {
			mustAppend(t, l, lines(t, fmt.Sprintf("first-%d", i), 10))
		}
		mustBeEqual(t, store(30), copies...)
	})
	t.Run("an id that is published at several copies at once is stored once", func(t *testing.T) {
		const ids = 20
		var publishing sync.WaitGroup
		var mu sync.Mutex
		got := map[int][]eventlog.Position{}
		for i := range ids {
			for _, l := range copies {
				one := []event.Line{line(t, fmt.Sprintf("same-%d", i), "")}
				publishing.Go(func() {
					p, err := l.Append(t.Context(), one)
					if err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					defer mu.Unlock()
					got[i] = append(got[i], p...)
				})
			}
		}
		publishing.Wait()
		for i, positions := range got {
			fresh := 0
			for _, p := range positions {
				if !p.Duplicate {
					fresh++
				}
				if p.Sequence != positions[0].Sequence {
					t.Errorf("id %d has several places: %v", i, positions)
				}
			}
			if fresh != 1 {
				t.Errorf("id %d was stored as new by %d of the copies: %v", i, fresh, positions)
			}
		}
		mustBeEqual(t, store(ids), copies...)
	})
	t.Run("publishers share messages", func(t *testing.T) {
		messages := func() (n int) {
			waitFor(t, "a server says how many messages it has", func() bool {
				var jsz struct {
					Messages *int `json:"messages"`
				}
				if err := servers.Servers[0].Get("/jsz", &jsz); err != nil || jsz.Messages == nil {
					return false
				}
				n = *jsz.Messages
				return true
			})
			return n
		}
		const publishers, each = 30, 20
		before := messages()
		var publishing sync.WaitGroup
		for p := range publishers {
			publishing.Go(func() {
				for i := range each {
					mustStore(t, copies[p%len(copies)], []event.Line{line(t, fmt.Sprintf("shared-%d-%d", p, i), "")})
				}
			})
		}
		publishing.Wait()
		mustBeEqual(t, store(publishers*each), copies...)
		took := messages() - before
		t.Logf("%d events of %d publishers at three copies were %d messages", publishers*each, publishers, took)
		if took > publishers*each/3 {
			t.Errorf("%d events of %d publishers were %d messages", publishers*each, publishers, took)
		}
	})
	t.Run("a batch larger than a message is stored as one, between others", func(t *testing.T) {
		random := make([]byte, 250<<10)
		var publishing sync.WaitGroup
		done := make(chan struct{})
		others := 0
		publishing.Go(func() {
			for ; ; others++ {
				select {
				case <-done:
					return
				default:
				}
				mustStore(t, copies[1], []event.Line{line(t, fmt.Sprintf("other-%d", others), "")})
			}
		})
		var batch []event.Line
		for i := range 6 {
			rand.Read(random)
			batch = append(batch, line(t, fmt.Sprintf("large-%d", i), hex.EncodeToString(random)))
		}
		positions := mustStore(t, copies[0], batch)
		close(done)
		publishing.Wait()
		for i, p := range positions {
			if p.Sequence != positions[0].Sequence+event.Sequence(i) {
				t.Fatalf("its events are not contiguous: %v", positions)
			}
		}
		mustBeEqual(t, store(6+others), copies...)
	})
	t.Run("a copy that comes back goes on, one that lost its disk and a late one read all", func(t *testing.T) {
		closeLog(t, copies[1])
		closeLog(t, copies[2])
		mustAppend(t, copies[0], lines(t, "meanwhile", 100))
		if err := os.RemoveAll(dirs[2]); err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(dirs[2], 0o755); err != nil {
			t.Fatal(err)
		}
		copies[1], copies[2] = open(t, servers, dirs[1]), open(t, servers, dirs[2])
		late := open(t, servers, t.TempDir())
		defer closeLog(t, late)
		mustBeEqual(t, store(100), append(copies, late)...)
	})
	t.Run("what was not noted as applied is compared when it comes again", func(t *testing.T) {
		closeLog(t, copies[2])
		if err := os.Remove(filepath.Join(dirs[2], "applied.json")); err != nil {
			t.Fatal(err)
		}
		copies[2] = open(t, servers, dirs[2])
		mustBeEqual(t, stored, copies...)
	})
	t.Run("a copy with another history stops", func(t *testing.T) {
		dir := t.TempDir()
		l, err := eventlog.Open(dir, eventlog.Options{Logger: quiet})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := l.Append(t.Context(), lines(t, "elsewhere", 3)); err != nil {
			t.Fatal(err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := cluster.Open(t.Context(), cluster.Config{Servers: servers.URL(), Dir: dir, Logger: quiet}); err == nil || !strings.Contains(err.Error(), "not a copy of") {
			t.Fatalf("opening a folder with another log: %v", err)
		}
		if err := os.WriteFile(filepath.Join(dir, "id"), []byte(copies[0].ID()+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		other := open(t, servers, dir)
		defer closeLog(t, other)
		var difference *eventlog.Difference
		waitFor(t, "the copy stops", func() bool { return errors.As(other.Failure(), &difference) })
		if _, err := other.Append(t.Context(), lines(t, "more", 1)); !errors.Is(err, eventlog.ErrReadOnly) {
			t.Errorf("publishing at a copy that has stopped: %v", err)
		}
		mustBeEqual(t, stored, copies...)
	})
	t.Run("one server may be killed and lose its disk", func(t *testing.T) {
		for i, s := range servers.Servers {
			s.Kill()
			if i == 0 {
				s.Wipe()
			}
			began := time.Now()
			waitFor(t, "two servers take events", func() bool {
				_, err := copies[i].Append(t.Context(), lines(t, fmt.Sprintf("without-%d", i), 10))
				if took := time.Since(began); err == nil {
					t.Logf("without server %d: an event was stored after %v", i+1, took.Round(time.Millisecond))
				}
				return err == nil
			})
			store(10)
			s.Start()
			s.WaitReady()
			mustBeEqual(t, stored, copies...)
		}
	})
	t.Run("without a majority nothing is stored, and that is said within 5 s", func(t *testing.T) {
		servers.Servers[0].Kill()
		servers.Servers[1].Kill()
		began := time.Now()
		_, err := copies[0].Append(t.Context(), lines(t, "no-majority", 1))
		if took := time.Since(began); !errors.Is(err, eventlog.ErrUnavailable) || took > 5*time.Second {
			t.Errorf("publishing: %v, after %v", err, took)
		}
		if _, err := copies[0].End(t.Context()); !errors.Is(err, eventlog.ErrUnavailable) {
			t.Errorf("asking for the end of the log: %v; a copy must not speak for what it does not know", err)
		}
		servers.Servers[0].Start()
		servers.Servers[1].Start()
		waitFor(t, "the servers take events again", func() bool {
			_, err := copies[0].Append(t.Context(), lines(t, "no-majority", 1)) // stored once, whatever became of the first
			return err == nil
		})
		mustBeEqual(t, store(1), copies...)
	})
}

func waitFor(t testing.TB, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !done(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited for a minute: %s", what)
		}
	}
}
