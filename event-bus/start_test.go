package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"miniblog/event-bus/eventlog"
	"miniblog/event-bus/eventlog/logtest"
	"miniblog/internal/event"
	"miniblog/internal/service"
	"miniblog/internal/wire"
)

// runningBus is a bus that runs as the program does, on a port and a folder of
// its own.
type runningBus struct {
	t    testing.TB
	addr string
	dir  string
	kill context.CancelFunc
	done chan struct{} // closed when Run has returned err
	err  error
}

// startBus starts a bus without subscribers on a new log. It is stopped, and
// must stop without an error, when the test ends.
func startBus(t testing.TB, env ...string) *runningBus {
	t.Helper()
	return startBusOn(t, t.TempDir(), env...)
}

// startBusOn starts a bus on the log in dir. env is names and values in turn.
func startBusOn(t testing.TB, dir string, env ...string) *runningBus {
	t.Helper()
	lookup := environment(t, append([]string{"DATA_DIR", dir}, env...)...)
	ctx, kill := context.WithCancel(context.Background())
	b := &runningBus{t: t, dir: dir, kill: kill, done: make(chan struct{})}
	listening := make(chan net.Addr, 1)
	go func() {
		b.err = service.Run(ctx, "event-bus", "localhost:0", lookup, open, func(a net.Addr) { listening <- a })
		close(b.done)
	}()
	select {
	case a := <-listening:
		b.addr = a.String()
	case <-b.done:
		kill()
		t.Fatalf("the bus did not start: %v", b.err)
	}
	t.Cleanup(b.stop)
	return b
}

// environment is what a bus reads: names and values in turn, and a default for
// the others that suits a test.
func environment(t testing.TB, env ...string) func(string) (string, bool) {
	variables := map[string]string{"LOG_LEVEL": "ERROR+4"}
	for pair := range slices.Chunk(env, 2) {
		variables[pair[0]] = pair[1]
	}
	if variables["SUBSCRIBERS_FILE"] == "" {
		variables["SUBSCRIBERS_FILE"] = subscribersFile(t, "[]")
	}
	if variables["DATA_DIR"] == "" {
		variables["DATA_DIR"] = t.TempDir()
	}
	return func(name string) (string, bool) { v, set := variables[name]; return v, set }
}

// runOnce runs a bus that cannot start, and returns why.
func runOnce(t testing.TB, env ...string) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	return service.Run(ctx, "event-bus", "localhost:0", environment(t, env...), open, func(net.Addr) { cancel() })
}

// stop stops the bus and waits until it has.
func (b *runningBus) stop() {
	b.t.Helper()
	b.kill()
	select {
	case <-b.done:
	case <-time.After(20 * time.Second):
		b.t.Fatal("the bus does not stop")
	}
	if b.err != nil {
		b.t.Errorf("the bus stopped with %v", b.err)
	}
}

// subscribersFile writes a subscribers file and returns its name.
func subscribersFile(t testing.TB, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "subscribers.json")
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestStartSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	damaged := t.TempDir()
	fill(t, damaged, 10, 10)
	logtest.Damage(t, damaged, 0.2)
	locked := startBus(t)
	for name, test := range map[string]struct {
		env  []string
		want string
	}{
		"a subscribers file that is not there": {[]string{"SUBSCRIBERS_FILE", "/nowhere/file"}, `SUBSCRIBERS_FILE="/nowhere/file": open /nowhere/file: no such file`},
		"a subscribers file that is wrong":     {[]string{"SUBSCRIBERS_FILE", subscribersFile(t, `[{"name":"A"}]`)}, `entry 1: the name "A" must be lower-case letters`},
		"origins that are none":                {[]string{"ALLOWED_ORIGINS", "posts.com"}, `ALLOWED_ORIGINS="posts.com": each origin must be a scheme and a host`},
		"a folder that cannot be":              {[]string{"DATA_DIR", "/proc/none"}, `DATA_DIR="/proc/none": cannot make this folder`},
		"a damaged log":                        {[]string{"DATA_DIR", damaged}, `opening the log in ` + damaged + `: 00000000000000000001.active.zst is damaged at byte 0, where event 1 should be`},
		"a log that is open elsewhere":         {[]string{"DATA_DIR", locked.dir}, `is locked: another event-bus has this log open; stop it first`},
		"an address that is taken":             {[]string{"ADDR", locked.addr}, locked.addr + ` is in use by another program: stop that one, or set ADDR to another address`},
	} {
		t.Run(name, func(t *testing.T) {
			err := runOnce(t, test.env...)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %s", err, test.want)
			}
		})
	}
	t.Run("a cursor that is not one", func(t *testing.T) {
		dir := t.TempDir()
		if err := os.MkdirAll(filepath.Join(dir, "subscribers"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "subscribers", "x.json"), []byte("?"), 0o644); err != nil {
			t.Fatal(err)
		}
		env := []string{"DATA_DIR", dir, "SUBSCRIBERS_FILE", subscribersFile(t, `[{"name":"x","url":"http://localhost:1"}]`)}
		for range 2 { // it gives the log back each time
			if err := runOnce(t, env...); err == nil || !strings.Contains(err.Error(), "to deliver all events again") {
				t.Errorf("got %v", err)
			}
		}
	})
}

// Of a stop under load each client knows what became of its events: what was
// answered is there, and what was not answered is not.
func TestStopUnderLoadIsFairToEveryPublisher(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	start := time.Now()
	type publication struct {
		ids    []string
		stored bool
		why    string
	}
	publications := make(chan publication, 1<<16)
	var publishers sync.WaitGroup
	for p := range 12 {
		client := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{DisableKeepAlives: p%3 == 0}}
		t.Cleanup(client.CloseIdleConnections)
		publishers.Go(func() {
			for i := 0; ; i++ {
				id := fmt.Sprintf("%d-%d", p, i)
				ids, contentType, body := []string{id}, "application/json", `{"type":"T","id":"`+id+`"}`
				if p%2 == 0 {
					ids, contentType, body = append(ids, id+"b"), wire.Batch, `[`+body+`,{"type":"T","id":"`+id+`b"}]`
				}
				response, err := client.Post("http://"+b.addr+"/events", contentType, strings.NewReader(body))
				if err == nil {
					_, err = io.ReadAll(response.Body)
					response.Body.Close()
				}
				stored := err == nil && response.StatusCode == http.StatusOK
				publications <- publication{ids, stored, fmt.Sprint(err)}
				if !stored {
					return
				}
			}
		})
	}
	for len(publications) < 100 { // each of which takes a moment
		if time.Since(start) > 15*time.Second {
			t.Fatal("there is no load")
		}
		time.Sleep(time.Millisecond)
	}
	b.stop()
	publishers.Wait()
	close(publications)
	there := map[string]int{}
	err := eventlog.Check(b.dir, io.Discard, func(batch eventlog.Batch) error {
		for text := range batch.Lines() {
			line, _ := event.ReadLine(text)
			there[string(line.ID())]++
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for p := range publications {
		for _, id := range p.ids {
			if p.stored && there[id] != 1 || !p.stored && there[id] != 0 {
				t.Errorf("event %s was stored %d times and its publisher told %v: %s", id, there[id], p.stored, p.why)
			}
		}
	}
}
