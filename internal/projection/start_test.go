package projection_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"miniblog/internal/bus"
	"miniblog/internal/bus/bustest"
	"miniblog/internal/event"
	"miniblog/internal/projection"
	"miniblog/test/wait"
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
				if err := tx.Exec("INSERT INTO posts (id, title) VALUES (?, ?) ON CONFLICT DO NOTHING", post.ID, post.Title); err != nil {
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
		for row, err := range tx.Query("SELECT title FROM posts ORDER BY n") {
			if err != nil {
				return err
			}
			var title string
			if err := row.Scan(&title); err != nil {
				return err
			}
			titles = append(titles, title)
		}
		titles = append(titles, "")
		return nil
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
	wait.Nil(t, fmt.Sprint("being told of ", want), func() error {
		if told, _ := v.told(); !slices.Equal(told, want) {
			return fmt.Errorf("it was told of %v", told)
		}
		return nil
	})
}

func (v *view) expect(t *testing.T, want string) {
	t.Helper()
	wait.Nil(t, fmt.Sprintf("%q", want), func() error {
		if got := v.titles(t); got != want {
			return fmt.Errorf("it holds %q", got)
		}
		return nil
	})
}

func posts(titles ...string) (events []event.Event) {
	for _, title := range titles {
		events = append(events, event.New("id-of-"+title, "/posts", event.PostCreated, "id-of-"+title, event.Post{ID: "id-of-" + title, Title: title}))
	}
	return events
}

// many returns n posts, and the titles that expect takes.
func many(n int) (events []event.Event, want string) {
	var titles strings.Builder
	for i := range n {
		title := fmt.Sprint("t", i)
		events = append(events, posts(title)...)
		titles.WriteString(title + " ")
	}
	return events, titles.String()
}
