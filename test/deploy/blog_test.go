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
	addr      map[string]string // by service: host:port
	processes []*os.Process
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
		b.start(t, service, run(t, service, variables))
	}
	subscribers := string(read(t, filepath.Join(root, "infra/compose/subscribers.json")))
	for _, service := range []string{"moderation", "comments"} {
		subscribers = strings.ReplaceAll(subscribers, fmt.Sprintf("//%s:%d/", service, readProgram(t, service).port), "//"+b.addr[service]+"/")
	}
	file := filepath.Join(t.TempDir(), "subscribers.json")
	if err := os.WriteFile(file, []byte(subscribers), 0o644); err != nil {
		t.Fatal(err)
	}
	b.start(t, "event-bus", run(t, "event-bus", []string{"ADDR=" + b.addr["event-bus"], "SUBSCRIBERS_FILE=" + file}))
	t.Cleanup(func() { // all stop at the same time; then each is waited for
		for _, p := range b.processes {
			p.Signal(syscall.SIGTERM)
		}
	})
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

// start starts a service and notes the address that it says it listens on.
func (b *blog) start(t *testing.T, service string, cmd *exec.Cmd) {
	t.Helper()
	logs, err := cmd.StderrPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatalf("starting %s: %v", service, err)
	}
	b.processes = append(b.processes, cmd.Process)
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
	case b.addr[service] = <-listening:
	case <-finished:
		t.Fatalf("%s ended before it listened", service)
	case <-time.After(limit):
		t.Fatalf("%s does not listen after %v", service, limit)
	}
}

// limit is how long anything may take.
const limit = 30 * time.Second

// needs returns the path of a program that the test cannot do without.
func needs(t *testing.T, program, debianPackage string) string {
	t.Helper()
	for _, name := range []string{program, "/usr/sbin/" + program} { // not in everybody's PATH
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	skip(t, "%s is missing: apt-get install %s", program, debianPackage)
	return ""
}

// skip skips the test, but fails it in CI.
func skip(t *testing.T, format string, args ...any) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}
