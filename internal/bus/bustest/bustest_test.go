package bustest

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"miniblog/internal/bus"
	"miniblog/internal/event"
)

// TestBusKeepsItsContract holds the bus for tests to what the program does.
func TestBusKeepsItsContract(t *testing.T) {
	t.Run("for tests", func(t *testing.T) { contract(t, New(t).URL) })
	t.Run("the program", func(t *testing.T) { contract(t, realBus(t)) })
}

func contract(t *testing.T, url string) {
	post := func(kind, body string) (status int, said map[string]any) {
		t.Helper()
		resp, err := http.Post(url+"/events", kind, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if err := json.UnmarshalRead(resp.Body, &said); err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, said
	}
	expect := func(kind, body string, want map[string]any) {
		t.Helper()
		_, got := post(kind, body)
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("answer to %s: %v, want %v", body, got, want)
		}
	}
	const single, batch = "application/json", "application/cloudevents-batch+json"
	expect(single, `{"id":"a","type":"T","data":{"n":1}}`, map[string]any{"status": "OK", "id": "a", "sequence": "00000000000000000001"})
	expect(single, `{"id":"a","type":"T","data":{"n":2}}`, map[string]any{"status": "OK", "id": "a", "sequence": "00000000000000000001", "duplicate": true})
	expect(batch, `[{"id":"b","type":"T"},{"id":"c","type":"T"}]`, map[string]any{"status": "OK", "first": "00000000000000000002", "last": "00000000000000000003"})
	expect(batch, `[{"id":"d","type":"T"},{"id":"a","type":"T"}]`, map[string]any{"status": "OK", "first": "00000000000000000004", "last": "00000000000000000001",
		"sequences": []any{"00000000000000000004", "00000000000000000001"}, "duplicates": []any{false, true}})
	for _, bad := range []string{`[{"id":"e","type":"T"},{"id":"f"}]`, `[{"id":"e","type":"T"},{"id":"` + strings.Repeat("f", 129) + `","type":"T"}]`} {
		if status, said := post(batch, bad); status != http.StatusUnprocessableEntity || said["detail"] == "" {
			t.Errorf("a batch with a bad event: %d %v", status, said)
		}
	}

	client := bus.New(url)
	defer client.Close()
	fetch := func(after event.Sequence, wait time.Duration) (ids string, page *bus.Page) {
		t.Helper()
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		page, err := client.Fetch(ctx, bus.Checkpoint{Sequence: after}, wait)
		if err != nil {
			t.Fatal(err)
		}
		defer page.Close()
		for events, err := range page.Events() {
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range events {
				ids += e.ID
			}
		}
		return ids, page
	}
	if ids, page := fetch(0, 0); ids != "abcd" || page.Last != 4 || page.Log == "" {
		t.Errorf("fetched %q of %+v, want abcd: nothing of a batch that was refused", ids, page)
	}
	if ids, _ := fetch(2, time.Minute); ids != "cd" {
		t.Errorf("fetched %q after 2, want cd", ids)
	}
	if ids, page := fetch(4, 0); ids != "" || page.Last != 4 {
		t.Errorf("fetched %q after the end, want nothing", ids)
	}
	if ids, page := fetch(9, time.Minute); ids != "" || page.Last != 4 {
		t.Errorf("fetched %q beyond the end, want nothing at once", ids)
	}
	t.Run("a wait ends with the next event", func(t *testing.T) {
		go http.Post(url+"/events", single, strings.NewReader(`{"id":"e","type":"T"}`))
		if ids, _ := fetch(4, time.Minute); ids != "e" {
			t.Errorf("fetched %q, want e", ids)
		}
	})
	resp, err := http.Get(url + "/events")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var all []event.Event
	if body, err := io.ReadAll(resp.Body); err != nil || json.Unmarshal(body, &all) != nil || len(all) != 5 || all[4].ID != "e" {
		t.Errorf("the plain history is %s (%v)", body, err)
	}
}

// realBus builds and starts the event bus and returns its URL.
func realBus(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "event-bus")
	if out, err := exec.Command("go", "build", "-o", program, "miniblog/event-bus").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	cmd := exec.Command(program)
	cmd.Env = append(os.Environ(), "ADDR=localhost:0", "LOG_FORMAT=json", "LOG_LEVEL=info", "DATA_DIR="+t.TempDir())
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	lines := bufio.NewScanner(stderr)
	for lines.Scan() {
		var line struct {
			Msg  string `json:"msg"`
			Addr string `json:"addr"`
		}
		if json.Unmarshal(lines.Bytes(), &line) == nil && line.Msg == "listening" {
			go func() { // it must not block on its log
				for lines.Scan() {
				}
			}()
			return "http://" + line.Addr
		}
	}
	t.Fatal("the event bus did not start")
	return ""
}
