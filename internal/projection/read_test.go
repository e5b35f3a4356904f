package projection_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"miniblog/internal/bus/bustest"
	"miniblog/internal/event"
	"miniblog/internal/projection"
)

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

// TestReadsOneAfterAnotherUseOneConnection: each had another one, with a cache of
// its own.
func TestReadsOneAfterAnotherUseOneConnection(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("which files are open is known on Linux alone")
	}
	dir := t.TempDir()
	v := start(t, bustest.New(t), dir)
	open := func() (n int) {
		names, err := filepath.Glob("/proc/self/fd/*")
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			if file, err := os.Readlink(name); err == nil && file == filepath.Join(dir, "projection.db") {
				n++
			}
		}
		return n
	}
	none := open()
	for range 8 {
		if err := v.Read(t.Context(), func(tx *projection.Tx) error { _, _, err := tx.Checkpoint(); return err }); err != nil {
			t.Fatal(err)
		}
	}
	if got := open(); none == 0 || got > none+1 {
		t.Errorf("the database is open %d times after 8 reads, before them %d times", got, none)
	}
}
