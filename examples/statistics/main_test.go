package main

import (
	"bytes"
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

	"miniblog/test/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

func TestReadmeShowsThisProgram(t *testing.T) {
	source, err := os.ReadFile("main.go")
	if err != nil {
		t.Fatal(err)
	}
	readme, err := os.ReadFile("../../docs/own-service.md")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(readme, []byte("```go\n"+string(source)+"```\n")) {
		t.Error("the program in docs/own-service.md is not this one: copy it there")
	}
	if lines := bytes.Count(source, []byte("\n")); lines >= 40 {
		t.Errorf("the program has %d lines; the document promises fewer than 40", lines)
	}
}

// TestLateJoinerSeesAllHistory runs the program of docs/own-service.md against a bus
// that has long been in use.
func TestLateJoinerSeesAllHistory(t *testing.T) {
	bus := harness.StartBus(t)
	const comments = 10_000
	history := []string{
		`{"type":"PostCreated","data":{"id":"p","title":"A post"}}`,
		`{"type":"CommentCreated","data":"not a comment at all"}`,
	}
	for i := range comments {
		history = append(history, comment("CommentCreated", i, "pending"))
	}
	for i := range comments / 4 {
		history = append(history, comment("CommentUpdated", i, "approved"))
	}
	publish(t, bus.URL, history)

	url := run(t, bus.URL)
	awaitCounts(t, url, `{"approved":2500,"pending":7500}`)
	publish(t, bus.URL, []string{comment("CommentUpdated", comments-1, "rejected"), comment("CommentCreated", comments, "pending")})
	awaitCounts(t, url, `{"approved":2500,"pending":7500,"rejected":1}`)

	bus.Restart()
	publish(t, bus.URL, []string{comment("CommentUpdated", comments, "approved")})
	awaitCounts(t, url, `{"approved":2501,"pending":7499,"rejected":1}`)
}

func comment(typ string, i int, status string) string {
	return fmt.Sprintf(`{"type":%q,"subject":"p","data":{"id":"comment-%d","postId":"p","content":"Words","status":%q}}`, typ, i, status)
}

func publish(t *testing.T, bus string, events []string) {
	t.Helper()
	resp, err := http.Post(bus+"/events", "application/cloudevents-batch+json", strings.NewReader("["+strings.Join(events, ",")+"]"))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(resp.Body)
		t.Fatalf("publishing: %s %s", resp.Status, body)
	}
}

// run builds and starts the program, as its own process, and returns its URL.
func run(t *testing.T, bus string) (url string) {
	t.Helper()
	program := filepath.Join(t.TempDir(), "statistics")
	if out, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	ctx, stop := context.WithCancel(context.Background())
	addr := harness.FreeAddress(t)
	cmd := exec.CommandContext(ctx, program)
	cmd.Env = append(os.Environ(), "ADDR="+addr, "EVENT_BUS_URL="+bus)
	cmd.Stderr = t.Output()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stop()
		cmd.Wait()
	})
	return "http://" + addr
}

func awaitCounts(t *testing.T, url, want string) {
	t.Helper()
	harness.Eventually(t, 30*time.Second, func() error {
		resp, err := http.Get(url + "/statistics")
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		got, err := io.ReadAll(resp.Body)
		if err == nil && strings.TrimSpace(string(got)) != want {
			err = fmt.Errorf("it counts %s, want %s", got, want)
		}
		return err
	})
}
