package projection_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"miniblog/internal/bus/bustest"
	"miniblog/internal/event"
	"miniblog/internal/projection"
	"miniblog/test/wait"
)

// freeAddr returns an address that nobody listens at.
func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// giving starts a copy that gives snapshots.
func giving(t *testing.T, b *bustest.Bus) (v *view, url string) {
	t.Helper()
	v, addr := &view{}, freeAddr(t)
	c := config(b, t.TempDir(), v)
	c.Snapshots.Addr = addr
	v.run(t, c)
	wait.For(t, "being ready", func() bool { return v.Ready() == nil })
	return v, "http://" + addr
}

// joining starts a new copy that takes a snapshot at url.
func joining(t *testing.T, b *bustest.Bus, url string, change ...func(*projection.Config)) *view {
	t.Helper()
	v := &view{}
	c := config(b, t.TempDir(), v)
	c.Snapshots.URL = url
	for _, f := range change {
		f(&c)
	}
	return v.run(t, c)
}

func TestNewCopyTakesASnapshotAndFollowsFromThere(t *testing.T) {
	b := bustest.New(t)
	events, want := many(3000)
	b.Add(events...)
	peer, url := giving(t, b)
	b.Add(posts("later")...)
	peer.expect(t, want+"later ")
	v := joining(t, b, url)
	v.expect(t, want+"later ")
	if told, dropped := v.told(); len(told) > 0 || dropped != 1 {
		t.Errorf("it applied %d events by itself and was replaced %d times", len(told), dropped)
	}
	b.Add(posts("new")...)
	v.expect(t, want+"later new ")
	v.expectTold(t, 3002)
	peer.expect(t, want+"later new ")
}

// TestSnapshotLeavesNoTransactionBehind: the connection went back with one, and
// whoever used it next, a reader or the next snapshot, was refused from then on.
func TestSnapshotLeavesNoTransactionBehind(t *testing.T) {
	b := bustest.New(t)
	b.Add(posts("a")...)
	v, url := giving(t, b)
	for range 2 {
		resp, err := http.Get(url + "/snapshot")
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Errorf("a snapshot was answered %s", resp.Status)
		}
	}
	v.expect(t, "a ")
}

// TestSnapshotIsOneState: the copy goes on with its work meanwhile.
func TestSnapshotIsOneState(t *testing.T) {
	b := bustest.New(t)
	events, _ := many(20_000)
	b.Add(events...)
	peer, url := giving(t, b)
	done, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for i := 0; ; i++ {
			select {
			case <-done:
				return
			default:
				var more []event.Event
				for j := range 50 {
					more = append(more, posts(fmt.Sprint("more", i, "-", j))...)
				}
				b.Add(more...)
				peer.WaitFor(t.Context(), event.Sequence(20_000+50*(i+1)))
			}
		}
	}()
	for range 2 {
		v := joining(t, b, url)
		wait.For(t, "being ready", func() bool { return v.Ready() == nil })
		err := v.Read(t.Context(), func(tx *projection.Tx) error {
			_, at, err := tx.Checkpoint()
			var count event.Sequence
			var check string
			if err == nil {
				_, err = tx.Get("SELECT count(*) FROM posts", nil, &count)
			}
			if err == nil {
				_, err = tx.Get("SELECT integrity_check FROM pragma_integrity_check", nil, &check)
			}
			if count != at || check != "ok" {
				t.Errorf("%d posts at checkpoint %d, and the file is %s", count, at, check)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
		v.stop()
	}
	close(done)
	<-stopped
}

func TestSnapshotThatDoesNotFitIsNotTaken(t *testing.T) {
	b := bustest.New(t)
	events, want := many(1000)
	b.Add(events...)
	_, url := giving(t, b)
	other := bustest.New(t)
	other.Add(posts("x", "y")...)
	_, otherURL := giving(t, other)
	broken := func(change func(http.Header, []byte) []byte) string {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			resp, err := http.Get(url + "/snapshot")
			if err != nil {
				t.Error(err)
				return
			}
			defer resp.Body.Close()
			body, _ := io.ReadAll(resp.Body)
			h := resp.Header.Clone()
			body = change(h, body)
			for name, values := range h {
				w.Header()[name] = values
			}
			w.Write(body)
		}))
		t.Cleanup(server.Close)
		return server.URL
	}
	otherSchema := func(c *projection.Config) { c.Schema += " -- another" }
	for name, test := range map[string]struct {
		url    string
		change func(*projection.Config)
	}{
		"nobody gives one":      {"http://" + freeAddr(t), nil},
		"another schema":        {url, otherSchema},
		"another log":           {otherURL, nil},
		"a broken transfer":     {broken(func(_ http.Header, b []byte) []byte { return b[:len(b)/2] }), nil},
		"no database":           {broken(func(_ http.Header, b []byte) []byte { return []byte(strings.Repeat("x", len(b))) }), nil},
		"another checkpoint":    {broken(func(h http.Header, b []byte) []byte { h.Set("Event-Sequence", "1"); return b }), nil},
		"another service there": {broken(func(h http.Header, b []byte) []byte { h.Del("Projection-Schema"); return b }), nil},
	} {
		t.Run(name, func(t *testing.T) {
			v := joining(t, b, test.url, func(c *projection.Config) {
				if test.change != nil {
					test.change(c)
				}
			})
			v.expect(t, want)
			wait.For(t, "being ready", func() bool { return v.Ready() == nil })
		})
	}
}

// TestSnapshotOfAnotherHistoryIsNotTaken: the log has the same id, and another event
// at the snapshot's checkpoint.
func TestSnapshotOfAnotherHistoryIsNotTaken(t *testing.T) {
	b := bustest.New(t)
	b.Add(posts("a", "b", "c")...)
	peer, url := giving(t, b)
	var asked atomic.Int32
	snapshot := func() []byte { // as of now, for later
		resp, err := http.Get(url + "/snapshot")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("%s %v", resp.Status, err)
		}
		header := resp.Header
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			asked.Add(1)
			for name, values := range header {
				w.Header()[name] = values
			}
			w.Write(body)
		}))
		t.Cleanup(server.Close)
		url = server.URL
		return body
	}
	if len(snapshot()) == 0 {
		t.Fatal("the snapshot is empty")
	}
	peer.stop()
	b.Truncate(1)
	b.Add(posts("x", "y", "z")...)
	joining(t, b, url).expect(t, "a x y z ")
	if asked.Load() != 1 {
		t.Errorf("it was asked for %d times", asked.Load())
	}
}
