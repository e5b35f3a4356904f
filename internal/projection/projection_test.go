package projection_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"miniblog/internal/bus"
	"miniblog/internal/bus/bustest"
	"miniblog/internal/event"
	"miniblog/internal/projection"
)

const schema = `CREATE TABLE posts (n INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, title TEXT NOT NULL)`

// view is a projection that runs, and what it was told.
type view struct {
	*projection.Projection
	stop func() // ends and closes it

	failures atomic.Int32     // how often applying has yet to fail
	pending  []event.Sequence // applied since the last commit

	mu      sync.Mutex
	applied []event.Sequence // and committed
	dropped int
}

func config(b *bustest.Bus, dir string, v *view) projection.Config {
	return projection.Config{
		Dir: dir, Bus: bus.New(b.URL), Schema: schema,
		Apply: func(tx *projection.Tx, events []event.Event) error {
			for _, e := range events {
				v.pending = append(v.pending, e.Sequence)
			}
			for i := range events {
				post, err := events[i].Post()
				if err != nil {
					projection.Skip(&events[i], err)
					continue
				}
				if _, err := tx.Exec("INSERT INTO posts (id, title) VALUES (?, ?) ON CONFLICT DO NOTHING", post.ID, post.Title); err != nil {
					return err
				}
			}
			if v.failures.Load() > 0 {
				v.failures.Add(-1)
				return errors.New("the disk is full")
			}
			return nil
		},
		RolledBack: func() { v.pending = nil },
		Committed: func(string) {
			v.mu.Lock()
			defer v.mu.Unlock()
			v.applied = append(v.applied, v.pending...)
			v.pending = nil
		},
		Dropped: func(string, event.Sequence) {
			v.mu.Lock()
			defer v.mu.Unlock()
			v.dropped++
		},
	}
}

func start(t *testing.T, b *bustest.Bus, dir string) *view {
	t.Helper()
	v := &view{}
	return v.run(t, config(b, dir, v))
}

func (v *view) run(t *testing.T, c projection.Config) *view {
	t.Helper()
	p, err := projection.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.Run(ctx)
	}()
	v.Projection = p
	v.stop = sync.OnceFunc(func() {
		cancel()
		<-done
		c.Bus.Close()
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(v.stop)
	return v
}

// told returns the sequences of which the view was told, and how often that
// all was dropped.
func (v *view) told() ([]event.Sequence, int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return append([]event.Sequence(nil), v.applied...), v.dropped
}

// titles returns what is stored, in order.
func (v *view) titles(t *testing.T) string {
	t.Helper()
	var titles []string
	err := v.Read(t.Context(), func(tx *projection.Tx) error {
		rows, err := tx.Query("SELECT title FROM posts ORDER BY n")
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var title string
			if err := rows.Scan(&title); err != nil {
				return err
			}
			titles = append(titles, title)
		}
		titles = append(titles, "")
		return rows.Err()
	})
	if err != nil {
		return err.Error()
	}
	return strings.Join(titles, " ")
}

// expectTold waits until the view was told of exactly these events, in order:
// it is told a moment after they can be read.
func (v *view) expectTold(t *testing.T, want ...event.Sequence) {
	t.Helper()
	told := func() string { told, _ := v.told(); return fmt.Sprint(told) }
	wait(t, fmt.Sprint("being told of ", want), func() bool { return told() == fmt.Sprint(want) }, told)
}

func (v *view) expect(t *testing.T, want string) {
	t.Helper()
	wait(t, fmt.Sprintf("%q", want), func() bool { return v.titles(t) == want }, func() string { return v.titles(t) })
}

// wait fails the test if a condition does not become true in time.
func wait(t *testing.T, what string, condition func() bool, state ...func() string) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !condition(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			for _, s := range state {
				t.Log(s())
			}
			t.Fatalf("%s did not come", what)
		}
	}
}

func posts(titles ...string) (events []event.Event) {
	for _, title := range titles {
		events = append(events, event.New("id-of-"+title, "/posts", event.PostCreated, "id-of-"+title, event.Post{ID: "id-of-" + title, Title: title}))
	}
	return events
}

func TestLateJoinerSeesAllHistory(t *testing.T) {
	b := bustest.New(t)
	var want strings.Builder
	for i := range 20_000 {
		title := fmt.Sprint("t", i)
		want.WriteString(title + " ")
		b.Add(posts(title)...)
	}
	v := start(t, b, t.TempDir())
	wait(t, "being ready", func() bool { return v.Ready() == nil })
	if v.titles(t) != want.String() || v.Checkpoint() != 20_000 {
		t.Errorf("not all is there at checkpoint %d", v.Checkpoint())
	}
	b.Add(posts("new")...)
	v.expect(t, want.String()+"new ")
}

// TestHistoryThatBreaksOffIsGoneOnWith: what arrived before is not fetched
// again, or a connection that never lasts would never bring all.
func TestHistoryThatBreaksOffIsGoneOnWith(t *testing.T) {
	b := bustest.New(t)
	const total = 10_000
	for i := range total {
		b.Add(posts(fmt.Sprint("t", i))...)
	}
	b.Corrupt(func(body []byte) []byte { return body[:len(body)*2/3] })
	v := start(t, b, t.TempDir())
	wait(t, "a part of it", func() bool { return v.Checkpoint() > 0 })
	b.Corrupt(nil)
	wait(t, "the rest", func() bool { return v.Checkpoint() == total })
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

func TestLostDatabaseIsBuiltAgain(t *testing.T) {
	tests := map[string]func(t *testing.T, dir string){
		"deleted": func(t *testing.T, dir string) {
			for _, name := range []string{"projection.db", "projection.db-wal", "projection.db-shm"} {
				os.Remove(filepath.Join(dir, name))
			}
		},
		"deleted, but not its write-ahead log": func(t *testing.T, dir string) {
			write(t, filepath.Join(dir, "projection.db-wal"), strings.Repeat("old log ", 1000))
			os.Remove(filepath.Join(dir, "projection.db"))
		},
		"not a database": func(t *testing.T, dir string) {
			write(t, filepath.Join(dir, "projection.db"), strings.Repeat("nonsense ", 10_000))
		},
		"empty": func(t *testing.T, dir string) { write(t, filepath.Join(dir, "projection.db"), "") },
		"cut short": func(t *testing.T, dir string) {
			if err := os.Truncate(filepath.Join(dir, "projection.db"), 4096+100); err != nil {
				t.Fatal(err)
			}
		},
	}
	for name, damage := range tests {
		t.Run(name, func(t *testing.T) {
			b, dir := bustest.New(t), t.TempDir()
			b.Add(posts("a", "b")...)
			v := start(t, b, dir)
			v.expect(t, "a b ")
			v.stop()
			damage(t, dir)
			start(t, b, dir).expect(t, "a b ")
		})
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestDatabaseDamagedWhileItRunsIsBuiltAgain(t *testing.T) {
	b, dir := bustest.New(t), t.TempDir()
	var titles []string
	for i := range 3000 {
		titles = append(titles, fmt.Sprintf("%05d", i))
	}
	b.Add(posts(titles...)...)
	v := start(t, b, dir)
	v.expect(t, strings.Join(titles, " ")+" ")
	v.stop() // all is in the file now
	file, err := os.OpenFile(filepath.Join(dir, "projection.db"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	for page := int64(8); page < 30; page++ { // not those that opening reads
		file.WriteAt([]byte(strings.Repeat("\xff", 4096)), page*4096)
	}
	file.Close()
	v = start(t, b, dir)
	v.expect(t, strings.Join(titles, " ")+" ") // reading it finds the damage
	if _, dropped := v.told(); dropped != 1 {
		t.Errorf("it was dropped %d times", dropped)
	}
	b.Add(posts("new")...)
	v.expect(t, strings.Join(titles, " ")+" new ")
}

func TestAnotherSchemaIsBuiltAgain(t *testing.T) {
	b, dir := bustest.New(t), t.TempDir()
	b.Add(posts("a", "b")...)
	v := start(t, b, dir)
	v.expect(t, "a b ")
	v.stop()
	v = &view{}
	c := config(b, dir, v)
	c.Schema = "CREATE TABLE posts (title TEXT, id TEXT UNIQUE, n INTEGER PRIMARY KEY) -- version 2"
	v.run(t, c).expect(t, "a b ")
	v.expectTold(t, 1, 2)
}

func TestAnotherLogReplacesTheData(t *testing.T) {
	tests := map[string]struct {
		change func(b *bustest.Bus)
		want   string
	}{
		"another log":                        {func(b *bustest.Bus) { b.Become(false, posts("x", "y", "z", "u")...) }, "x y z u "},
		"another log, empty":                 {func(b *bustest.Bus) { b.Become(false) }, ""},
		"a log that ends before":             {func(b *bustest.Bus) { b.Truncate(1) }, "a "},
		"a log that ends before and goes on": {func(b *bustest.Bus) { b.Truncate(1); b.Add(posts("d")...) }, "a d "},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b := bustest.New(t)
			b.Add(posts("a", "b", "c")...)
			v := start(t, b, t.TempDir())
			v.expect(t, "a b c ")
			test.change(b)
			v.expect(t, test.want)
			b.Add(posts("new")...)
			v.expect(t, test.want+"new ")
			if v.Ready() != nil {
				t.Error("it was ready, and is no more")
			}
			if _, dropped := v.told(); dropped != 1 {
				t.Errorf("it was dropped %d times", dropped)
			}
		})
	}
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
	wait(t, "a failure", func() bool { return v.failures.Load() < 1<<30 })
	if err := v.Ready(); err == nil {
		t.Error("ready before the log was applied")
	}
	v.failures.Store(0)
	wait(t, "being ready", func() bool { return v.Ready() == nil })
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
	wait(t, "being ready", func() bool { return v.Ready() == nil })
	b.Stop()
	wait(t, "a line of log", func() bool { return strings.Contains(lines.String(), "cannot be followed") })
	b.Restart(t)
	b.Add(posts("a")...)
	v.expect(t, "a ")
	wait(t, "a line of log", func() bool { return strings.Contains(lines.String(), "following the event bus again") })
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

func TestEventByHandIsAppliedAtOnce(t *testing.T) {
	b := bustest.New(t)
	b.Add(posts("a")...)
	v := start(t, b, t.TempDir())
	v.expect(t, "a ")
	hand := posts("hand", "pushed")
	for range 2 { // twice changes nothing
		if err := v.ApplyNow(hand[0]); err != nil {
			t.Fatal(err)
		}
	}
	hand[1].Sequence = 2
	if err := v.ApplyNow(hand[1]); err != nil { // fetch brings it, if it is in the log
		t.Fatal(err)
	}
	if got := v.titles(t); got != "a hand " || v.Checkpoint() != 1 {
		t.Errorf("stored %q at %d", got, v.Checkpoint())
	}
	b.Add(posts("b")...)
	v.expect(t, "a hand b ")
}

func TestSimpleBus(t *testing.T) {
	t.Run("its array is applied, pushes bring the rest", func(t *testing.T) {
		b := bustest.NewSimple(t)
		b.Add(posts("a", "b")...)
		v := start(t, b, t.TempDir())
		v.expect(t, "a b ")
		wait(t, "being ready", func() bool { return v.Ready() == nil })
		pushed := posts("c")[0]
		pushed.Sequence = 77 // of no meaning here
		if err := v.ApplyNow(pushed); err != nil {
			t.Fatal(err)
		}
		if got := v.titles(t); got != "a b c " || v.Checkpoint() != 0 {
			t.Errorf("stored %q at %d", got, v.Checkpoint())
		}
	})
	t.Run("a log that comes later replaces it", func(t *testing.T) {
		b, dir := bustest.NewSimple(t), t.TempDir()
		b.Add(posts("a", "b")...)
		v := start(t, b, dir)
		v.expect(t, "a b ")
		wait(t, "being ready", func() bool { return v.Ready() == nil })
		v.stop()
		b.Become(false, posts("x")...)
		start(t, b, dir).expect(t, "x ")
	})
	t.Run("it takes over from a log without losing data", func(t *testing.T) {
		b, dir := bustest.New(t), t.TempDir()
		b.Add(posts("a")...)
		v := start(t, b, dir)
		v.expect(t, "a ")
		b.Become(true, posts("b")...)
		b.Stop() // ends the fetch that waits
		b.Restart(t)
		v.expect(t, "a b ")
	})
}

func TestWaitFor(t *testing.T) {
	b := bustest.New(t)
	v := start(t, b, t.TempDir())
	short, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := v.WaitFor(short, 1); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("waiting for what does not come: %v", err)
	}
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			if err := v.WaitFor(t.Context(), event.Sequence(i+1)); err != nil || v.Checkpoint() < event.Sequence(i+1) {
				t.Errorf("waiting for %d: %v at %d", i+1, err, v.Checkpoint())
			}
		})
	}
	for i := range 20 {
		b.Add(posts(fmt.Sprint("t", i))...)
	}
	wg.Wait()
	n := int64(0)
	count := func(tx *projection.Tx) (bool, error) {
		_, err := tx.Get("SELECT count(*) FROM posts", nil, &n)
		return n == 21, err
	}
	if reached, err := v.Until(t.Context(), 20*time.Millisecond, count); reached || err != nil {
		t.Errorf("a condition that does not come true: %v, %v, %d posts", reached, err, n)
	}
	go b.Add(posts("last")...)
	if reached, err := v.Until(t.Context(), 20*time.Second, count); !reached || err != nil {
		t.Errorf("a condition that comes true: %v, %v, %d posts", reached, err, n)
	}
}

// TestPanicInAReadLeavesNoTransactionOpen: the connection is used again.
func TestPanicInAReadLeavesNoTransactionOpen(t *testing.T) {
	b := bustest.New(t)
	v := start(t, b, t.TempDir())
	for range 8 { // each connection, twice
		func() {
			defer func() { recover() }()
			v.Read(t.Context(), func(*projection.Tx) error { panic("a bug") })
		}()
	}
	for range 8 {
		if err := v.Read(t.Context(), func(*projection.Tx) error { return nil }); err != nil {
			t.Error(err)
		}
	}
}

func TestReadSeesOneState(t *testing.T) {
	b := bustest.New(t)
	v := start(t, b, t.TempDir())
	stop := make(chan struct{})
	var writing sync.WaitGroup
	writing.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				b.Add(posts(fmt.Sprint("t", i))...)
			}
		}
	})
	for range 200 {
		err := v.Read(t.Context(), func(tx *projection.Tx) error {
			_, checkpoint, err := tx.Checkpoint()
			if err != nil {
				return err
			}
			var count event.Sequence
			if _, err := tx.Get("SELECT count(*) FROM posts", nil, &count); err != nil {
				return err
			}
			if count != checkpoint {
				t.Errorf("%d posts at checkpoint %d", count, checkpoint)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	writing.Wait()
}
