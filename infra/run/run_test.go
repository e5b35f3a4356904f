//go:build unix

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"miniblog/test/harness"
)

func TestBlogRunsUntilItIsStopped(t *testing.T) {
	r := start(t)
	r.awaitOutput(t, "The blog runs")
	text := r.out.String()

	t.Run("the table says what runs where", func(t *testing.T) {
		for _, p := range r.programs {
			row := regexp.MustCompile(`(?m)^  ` + p.name + ` +` + regexp.QuoteMeta(p.url()) + ` +process \d+ `)
			if !row.MatchString(text) {
				t.Errorf("no row for %s at %s", p.name, p.url())
			}
			if waits, err := askReady(t.Context(), p.url()+"/readyz"); err != nil || waits != "" {
				t.Errorf("%s is not ready: %s %v", p.name, waits, err)
			}
		}
	})
	t.Run("each line of log begins with the service", func(t *testing.T) {
		for _, p := range r.programs {
			if want := fmt.Sprintf("%-*s | time=", nameWidth, p.name); !strings.Contains(text, want) {
				t.Errorf("no line begins with %q", want)
			}
		}
	})
	t.Run("a comment is decided on", func(t *testing.T) {
		r.writeAndAwaitApproval(t)
	})
	t.Run("a service that dies is started again, and said so", func(t *testing.T) {
		pid := r.pid(t, "posts")
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		r.awaitOutput(t, "posts has died (signal: killed): it is started again in 250ms")
		r.awaitOutput(t, "posts is ready again")
		r.writeAndAwaitApproval(t)
	})
	t.Run("one signal stops all of it within 5 s", func(t *testing.T) {
		begun := time.Now()
		if err := r.stop(t, syscall.SIGINT); err != nil {
			t.Errorf("it ended with %v", err)
		}
		if took := time.Since(begun); took > 5*time.Second {
			t.Errorf("it took %v", took)
		}
		r.nothingListens(t)
		if n := strings.Count(r.out.String(), "msg=stopped"); n != len(r.programs) {
			t.Errorf("%d of %d services stopped in good order", n, len(r.programs))
		}
	})
}

func TestServiceThatDoesNotStopIsKilled(t *testing.T) {
	if testing.Short() {
		t.Skip("takes 3 s")
	}
	r := start(t)
	r.awaitOutput(t, "The blog runs")
	if err := syscall.Kill(r.pid(t, "moderation"), syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	if err := r.stop(t, syscall.SIGTERM); err != nil {
		t.Errorf("it ended with %v", err)
	}
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
	r.awaitOutput(t, "moderation did not stop in time and was killed")
	r.nothingListens(t)
}

func TestNothingOutlivesTheRunner(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux tells processes that their parent died")
	}
	r := start(t)
	r.awaitOutput(t, "The blog runs")
	r.stop(t, syscall.SIGKILL)
	harness.Eventually(t, 5*time.Second, func() error {
		for _, p := range r.programs {
			if portTaken(p.port) {
				return fmt.Errorf("%s still runs", p.name)
			}
		}
		return nil
	})
}

func TestTakenPortIsNamedBeforeAnythingStarts(t *testing.T) {
	r := prepare(t, false)
	query := r.program("query")
	listener, err := net.Listen("tcp", query.addr())
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	r.start(t)
	if err := r.wait(t); err == nil {
		t.Error("it ended as if all were well")
	}
	for _, want := range []string{fmt.Sprintf("port %d, which query needs, is taken", query.port), "Stop the program that has it", "make run SHIFT="} {
		if !strings.Contains(r.out.String(), want) {
			t.Errorf("it does not say %q:\n%s", want, r.out.String())
		}
	}
	if entries, err := os.ReadDir(r.data); err != nil || len(entries) > 0 {
		t.Errorf("something was started before: %v %v", entries, err)
	}
}

func TestWrongConfigurationIsShown(t *testing.T) {
	r := prepare(t, false)
	t.Setenv("BLOCKED_TERMS_FILE", filepath.Join(t.TempDir(), "missing"))
	r.start(t)
	if err := r.wait(t); err == nil {
		t.Error("it ended as if all were well")
	}
	_, said, _ := strings.Cut(r.out.String(), "Stopped.")
	for _, want := range []string{"moderation did not start", "BLOCKED_TERMS_FILE", "missing"} {
		if !strings.Contains(said, want) {
			t.Errorf("its last words do not contain %q:\n%s", want, r.out.String())
		}
	}
	r.nothingListens(t)
}

// runner is the program under test, run as a process.
type runner struct {
	data     string
	shift    int
	cluster  bool
	programs []program // all that listen
	cmd      *exec.Cmd
	out      output
	ended    chan error // holds how it ended
}

// limit is how long anything may take.
const limit = 30 * time.Second

// built is the folder for the runner and the services.
var built string

func TestMain(m *testing.M) {
	var err error
	if built, err = os.MkdirTemp("", "miniblog-run-"); err != nil {
		panic(err)
	}
	code := m.Run()
	os.RemoveAll(built)
	os.Exit(code)
}

// build builds the runner and the services, on the first call.
var build = sync.OnceValue(func() error {
	root, err := harness.Root()
	if err != nil {
		return err
	}
	args := []string{"build", "-ldflags=-s -w", "-o", built + "/", "./infra/run", "github.com/nats-io/nats-server/v2"}
	for _, p := range newBlog(config{}).programs() {
		args = append(args, "./"+p.name)
	}
	cmd := exec.Command("go", args...)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building the blog: %w\n%s", err, out)
	}
	return nil
})

// prepare finds free ports and returns a runner that does not run yet.
func prepare(t *testing.T, cluster bool) *runner {
	t.Helper()
	for range 100 {
		r := &runner{data: t.TempDir(), shift: 2_000 + rand.N(20_000), cluster: cluster} // below the ports of outgoing connections
		b := newBlog(config{data: r.data, shift: r.shift, cluster: cluster})
		r.programs = b.listeners()
		if checkPorts(r.programs) == nil {
			return r
		}
	}
	t.Fatal("not enough ports are free")
	return nil
}

func start(t *testing.T) *runner {
	t.Helper()
	r := prepare(t, false)
	r.start(t)
	return r
}

func (r *runner) start(t *testing.T) {
	t.Helper()
	if err := build(); err != nil {
		t.Fatal(err)
	}
	r.cmd = exec.Command(filepath.Join(built, "run"), "-bin", built, "-data", r.data, "-shift", strconv.Itoa(r.shift), fmt.Sprintf("-cluster=%t", r.cluster))
	r.cmd.Stdout, r.cmd.Stderr = &r.out, &r.out
	r.cmd.SysProcAttr = attributes()
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r.ended = make(chan error, 1)
	go func() { r.ended <- r.cmd.Wait() }()
	t.Cleanup(func() {
		r.cmd.Process.Kill()
		if t.Failed() {
			t.Logf("it wrote:\n%s", r.out.String())
		}
	})
}

// stop sends a signal and returns how the runner ended.
func (r *runner) stop(t *testing.T, signal syscall.Signal) error {
	t.Helper()
	if err := r.cmd.Process.Signal(signal); err != nil {
		t.Fatal(err)
	}
	return r.wait(t)
}

func (r *runner) wait(t *testing.T) error {
	t.Helper()
	select {
	case err := <-r.ended:
		return err
	case <-time.After(limit):
		t.Fatalf("it has not ended after %v", limit)
		return nil
	}
}

func (r *runner) awaitOutput(t *testing.T, want string) {
	t.Helper()
	harness.Eventually(t, limit, func() error {
		if !strings.Contains(r.out.String(), want) {
			return fmt.Errorf("it has not said %q", want)
		}
		return nil
	})
}

// pid returns the process of a service, as the table says.
func (r *runner) pid(t *testing.T, name string) int {
	t.Helper()
	row := regexp.MustCompile(`(?m)^  ` + name + ` .*process (\d+)`).FindStringSubmatch(r.out.String())
	if row == nil {
		t.Fatalf("the table has no process of %s", name)
	}
	pid, err := strconv.Atoi(row[1])
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

func (r *runner) program(name string) program {
	for _, p := range r.programs {
		if p.name == name {
			return p
		}
	}
	panic("no program " + name)
}

func (r *runner) url(name string) string { return r.program(name).url() }

// writeAndAwaitApproval takes the blog's whole way once: every service has to
// know where the others are.
func (r *runner) writeAndAwaitApproval(t *testing.T) {
	t.Helper()
	var id string
	harness.Eventually(t, limit, func() error {
		body, err := r.send(http.MethodPost, r.url("posts")+"/posts/create", `{"title":"A post"}`)
		if match := regexp.MustCompile(`"id":"([^"]+)"`).FindStringSubmatch(body); err == nil && match != nil {
			id = match[1]
			return nil
		}
		return fmt.Errorf("%s %w", body, err)
	})
	harness.Eventually(t, limit, func() error {
		body, err := r.send(http.MethodPost, r.url("comments")+"/posts/"+id+"/comments", `{"content":"A comment"}`)
		if err != nil && !r.cluster { // in a cluster that elects, the post may be on its way to the comments' bus
			t.Fatalf("%s %v", body, err)
		}
		return err
	})
	harness.Eventually(t, limit, func() error {
		body, err := r.send(http.MethodGet, r.url("query")+"/posts?id="+id, "")
		if err == nil && !strings.Contains(body, `"status":"approved"`) {
			err = errors.New(body)
		}
		return err
	})
}

// send sends a request as the page would.
func (r *runner) send(method, url, body string) (string, error) {
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Origin", r.url("client"))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
	case resp.StatusCode >= 300:
		err = errors.New(resp.Status)
	case resp.Header.Get("Access-Control-Allow-Origin") != r.url("client"):
		err = errors.New("the page's origin is not allowed")
	}
	return string(text), err
}

func (r *runner) nothingListens(t *testing.T) {
	t.Helper()
	for _, p := range r.programs {
		if portTaken(p.port) {
			t.Errorf("%s still listens on %s", p.name, p.addr())
		}
	}
}

// output may be written and read at once.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}
