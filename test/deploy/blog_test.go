package deploy

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"miniblog/test/harness"
)

// blog is the six programs as processes, each with a port of its own.
type blog struct {
	addr map[string]string // by service: host:port
}

// command makes the command that runs a service with these variables.
type command func(t *testing.T, service string, variables []string) *exec.Cmd

// startBlog starts the six services and waits until all are ready. They are
// stopped when the test ends, and must stop well.
func startBlog(t *testing.T, run command) *blog {
	t.Helper()
	b := &blog{addr: map[string]string{"event-bus": harness.FreeAddress(t)}}
	busURL := "EVENT_BUS_URL=http://" + b.addr["event-bus"]
	for _, service := range []string{"client", "comments", "moderation", "posts", "query"} {
		variables := []string{"ADDR=127.0.0.1:0"}
		if service == "client" {
			variables = append(variables, "POSTS_URL=", "COMMENTS_URL=", "QUERY_URL=")
		} else {
			variables = append(variables, busURL)
		}
		b.addr[service] = start(t, service, run(t, service, variables))
	}
	subscribers := string(read(t, filepath.Join(root, "infra/compose/subscribers.json")))
	for _, service := range []string{"moderation", "comments"} {
		subscribers = strings.ReplaceAll(subscribers, fmt.Sprintf("//%s:%d/", service, readProgram(t, service).port), "//"+b.addr[service]+"/")
	}
	file := filepath.Join(t.TempDir(), "subscribers.json")
	if err := os.WriteFile(file, []byte(subscribers), 0o644); err != nil {
		t.Fatal(err)
	}
	start(t, "event-bus", run(t, "event-bus", []string{"ADDR=" + b.addr["event-bus"], "SUBSCRIBERS_FILE=" + file}))
	for service, addr := range b.addr {
		harness.Eventually(t, limit, func() error {
			answer, err := harness.Send(t.Context(), "GET", "http://"+addr+"/readyz", "")
			if err == nil && answer.Status != http.StatusOK {
				err = fmt.Errorf("%s answers %d: %s", service, answer.Status, answer.Body)
			}
			return err
		})
	}
	return b
}

// start starts a service and returns the address that it says it listens on.
func start(t *testing.T, service string, cmd *exec.Cmd) (addr string) {
	t.Helper()
	logs, err := cmd.StderrPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatalf("starting %s: %v", service, err)
	}
	listening := make(chan string, 1)
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		for lines := bufio.NewScanner(logs); lines.Scan(); {
			var line struct{ Msg, Addr string }
			if json.Unmarshal(lines.Bytes(), &line) == nil && line.Msg == "listening" {
				listening <- line.Addr
			} else {
				t.Logf("%s", lines.Text())
			}
		}
	}()
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		<-finished
		if err := cmd.Wait(); err != nil {
			t.Errorf("%s did not stop well: %v", service, err)
		}
	})
	select {
	case addr = <-listening:
		return addr
	case <-finished:
		t.Fatalf("%s ended before it listened", service)
	case <-time.After(limit):
		t.Fatalf("%s does not listen after %v", service, limit)
	}
	return ""
}

// limit is how long anything may take.
const limit = 30 * time.Second

// needs skips the test where a program is missing, and fails it in CI.
func needs(t *testing.T, program, debianPackage string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err == nil {
		return path
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s is missing: apt-get install %s", program, debianPackage)
	}
	t.Skipf("SKIPPED, NOT CHECKED: %s is missing (apt-get install %s)", program, debianPackage)
	return ""
}
