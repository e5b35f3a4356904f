package harness

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	readyLimit = 20 * time.Second
	stopLimit  = 10 * time.Second // that every service promises
	shownLines = 15               // of its output, when the test fails
)

// Process is one program of the blog with its own port and folder, which it
// keeps when it is started again. Its methods belong to the test's goroutine
// unless they say otherwise.
type Process struct {
	Name string
	URL  string // http://127.0.0.1:port
	Dir  string // its data

	t       testing.TB
	program string
	env     []string
	output  string // the file
	run     *run   // nil while it does not run
}

// run is one life of a process. Its goroutine ends when the process has.
type run struct {
	command *exec.Cmd
	told    bool          // to end
	ended   chan struct{} // closed afterwards
	err     error         // as exec.Cmd.Wait returns it, once ended is closed
}

// NewProcess returns a process that does not run yet. env comes on top of what
// every service needs.
func NewProcess(t testing.TB, program, name string, env map[string]string) *Process {
	t.Helper()
	if err := build(); err != nil {
		t.Fatal(err)
	}
	address := FreeAddress(t)
	p := &Process{
		Name: name, URL: "http://" + address, Dir: t.TempDir(),
		t: t, program: filepath.Join(built, program),
		output: filepath.Join(t.TempDir(), name+".log"),
	}
	all := map[string]string{
		"ADDR": address, "DATA_DIR": p.Dir, "LOG_FORMAT": "text",
		"PATH": os.Getenv("PATH"), "HOME": p.Dir, "TMPDIR": os.TempDir(),
	}
	maps.Copy(all, env)
	for name, value := range all {
		p.env = append(p.env, name+"="+value)
	}
	slices.Sort(p.env)
	atAddress.Store(address, p)
	t.Cleanup(p.finish)
	return p
}

// Setenv changes the environment of the next start.
func (p *Process) Setenv(name, value string) {
	p.env = slices.DeleteFunc(p.env, func(v string) bool { return strings.HasPrefix(v, name+"=") })
	p.env = append(p.env, name+"="+value)
}

// Start starts the process, which must not run, and does not wait for it.
func (p *Process) Start() {
	p.t.Helper()
	if p.run != nil {
		p.t.Fatalf("%s runs already", p.Name)
	}
	output, err := os.OpenFile(p.output, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		p.t.Fatal(err)
	}
	defer output.Close() // the process has its own
	command := exec.Command(p.program)
	command.Env, command.Dir = p.env, p.Dir
	command.Stdout, command.Stderr = output, output
	wait, err := Tied(command)
	if err != nil {
		p.t.Fatalf("starting %s: %v", p.Name, err)
	}
	r := &run{command: command, ended: make(chan struct{})}
	go func() {
		r.err = wait()
		close(r.ended)
	}()
	p.run = r
}

// Tied starts a command that ends when this process does, however that ends. It
// returns what waits for it, as exec.Cmd.Wait does, and is to be called once.
func Tied(command *exec.Cmd) (wait func() error, err error) {
	command.SysProcAttr = child()
	started, ended := make(chan error), make(chan error, 1)
	go func() {
		runtime.LockOSThread() // the command ends with this thread
		defer runtime.UnlockOSThread()
		err := command.Start()
		started <- err
		if err == nil {
			ended <- command.Wait()
		}
	}()
	return func() error { return <-ended }, <-started
}

// AwaitReady waits until the process says that it is ready.
func (p *Process) AwaitReady() {
	p.t.Helper()
	if p.run == nil {
		p.t.Fatalf("%s was not started", p.Name)
	}
	Eventually(p.t, readyLimit, func() error {
		select {
		case <-p.run.ended:
			p.t.Fatalf("%s ended instead of becoming ready: %v\n%s", p.Name, p.run.err, p.tail())
		default:
		}
		return p.ready()
	})
}

func (p *Process) ready() error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, p.URL+"/readyz", nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s is not ready: %d %s", p.Name, response.StatusCode, answer)
	}
	return err
}

// Pid returns the number of the process, which must run.
func (p *Process) Pid() int { return p.run.command.Process.Pid }

// Kill ends the process as a crash does, if it runs.
func (p *Process) Kill() {
	p.t.Helper()
	if p.run == nil {
		return
	}
	p.MustBeAlive()
	p.run.told = true
	p.run.command.Process.Kill()
	<-p.run.ended
	p.run = nil
}

// Terminate asks the process to stop and does not wait. What it returns is
// closed when it has.
func (p *Process) Terminate() (ended <-chan struct{}) {
	p.t.Helper()
	if p.run == nil {
		p.t.Fatalf("%s does not run", p.Name)
	}
	p.MustBeAlive()
	p.run.told = true
	if err := p.run.command.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Errorf("stopping %s: %v", p.Name, err)
	}
	return p.run.ended
}

// AwaitStop waits for a process that was asked to stop, and fails the test
// unless it ends well within the time that every service promises.
func (p *Process) AwaitStop() {
	p.t.Helper()
	select {
	case <-p.run.ended:
	case <-time.After(stopLimit):
		p.t.Errorf("%s has not stopped within %v", p.Name, stopLimit)
		p.run.command.Process.Kill()
		<-p.run.ended
	}
	if p.run.err != nil {
		p.t.Errorf("%s did not stop well: %v\n%s", p.Name, p.run.err, p.tail())
	}
	p.run = nil
}

// Stop stops the process in good order.
func (p *Process) Stop() {
	p.t.Helper()
	p.Terminate()
	p.AwaitStop()
}

// Restart kills the process, starts it again and waits until it is ready.
func (p *Process) Restart() {
	p.t.Helper()
	p.Kill()
	p.Start()
	p.AwaitReady()
}

// LoseData removes what the process, which must not run, keeps in its folder.
func (p *Process) LoseData() {
	p.t.Helper()
	if p.run != nil {
		p.t.Fatalf("%s still runs", p.Name)
	}
	files, err := filepath.Glob(filepath.Join(p.Dir, "*"))
	if err == nil && len(files) == 0 {
		err = fmt.Errorf("%s keeps nothing in its folder", p.Name)
	}
	for _, file := range files {
		err = errors.Join(err, os.RemoveAll(file))
	}
	if err != nil {
		p.t.Fatal(err)
	}
}

// MustBeAlive fails the test if the process, which was started, has ended by
// itself.
func (p *Process) MustBeAlive() {
	p.t.Helper()
	select {
	case <-p.run.ended:
		p.t.Errorf("%s ended by itself: %v\n%s", p.Name, p.run.err, p.tail())
	default:
	}
}

// finish ends the process at the end of the test.
func (p *Process) finish() {
	atAddress.Delete(strings.TrimPrefix(p.URL, "http://"))
	p.Kill()
	output := p.Output()
	for line := range bytes.Lines(output) {
		for _, bad := range []string{"panicked", "panic: ", "DATA RACE", "fatal error"} {
			if bytes.Contains(line, []byte(bad)) {
				p.t.Errorf("%s: %s", p.Name, line)
			}
		}
	}
	if p.t.Failed() {
		p.t.Logf("the end of what %s wrote:\n%s", p.Name, p.tail())
	}
}

// Output returns what the process has written so far, in all its lives.
func (p *Process) Output() []byte {
	p.t.Helper()
	text, err := os.ReadFile(p.output)
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // it was never started
		p.t.Error(err)
	}
	return text
}

// tail returns the end of what the process wrote.
func (p *Process) tail() string {
	text := p.Output()
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-shownLines):], "\n")
}

var taken = struct {
	sync.Mutex
	ports map[int]bool
}{ports: map[int]bool{}}

// FreeAddress returns an address on this machine that nobody uses. Its port is
// below those that the kernel gives to outgoing connections, so that it stays
// free while its process is down, and below those of Kubernetes' NodePorts.
func FreeAddress(t testing.TB) string {
	t.Helper()
	taken.Lock()
	defer taken.Unlock()
	for range 1000 {
		port := 10_000 + rand.N(20_000)
		if taken.ports[port] {
			continue
		}
		address := fmt.Sprintf("127.0.0.1:%d", port)
		listener, err := net.Listen("tcp", address)
		if err != nil {
			continue
		}
		listener.Close()
		taken.ports[port] = true
		return address
	}
	t.Fatal("no port is free")
	return ""
}
