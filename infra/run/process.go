package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/go-json-experiment/json"
)

// How soon a program that died is started again. The pause doubles each time,
// and begins anew after a time without trouble.
const (
	firstPause = 250 * time.Millisecond
	mostPause  = 10 * time.Second
	wellAfter  = 10 * time.Second
)

// process keeps one program running.
type process struct {
	program
	path  string
	out   *lines
	grace time.Duration // from SIGTERM to SIGKILL
	ready chan struct{} // closed when the program is ready for the first time

	pid     atomic.Int64
	isReady atomic.Bool            // it runs and is ready
	waits   atomic.Pointer[string] // what the program says it waits for
}

// keep runs the program, again whenever it dies, until stop ends; the end of
// kill kills it at once. It returns an error if the program gives up by itself
// before it was ready even once: then its configuration is wrong.
func (p *process) keep(stop, kill context.Context) error {
	runtime.LockOSThread() // Linux takes the end of the thread that started a child for our death
	defer runtime.UnlockOSThread()
	for pause := firstPause; ; pause = min(2*pause, mostPause) {
		started := time.Now()
		err := p.once(stop, kill)
		switch {
		case stop.Err() != nil:
			if killed(err) {
				p.out.terminal.say("%s did not stop in time and was killed.", p.name)
			}
			return nil
		case !p.wasReady() && !killed(err):
			return p.gaveUp(err)
		}
		if time.Since(started) > wellAfter {
			pause = firstPause
		}
		p.out.terminal.say("%s has died (%s): it is started again in %v", p.name, how(err), pause)
		select {
		case <-time.After(pause):
		case <-stop.Done():
			return nil
		}
	}
}

// once runs the program until it ends. A program that ended well was not asked
// to: that is no better than dying.
func (p *process) once(stop, kill context.Context) error {
	cmd := exec.CommandContext(stop, p.path, p.args...)
	cmd.Env = p.env
	cmd.Stdout, cmd.Stderr = p.out, p.out
	cmd.SysProcAttr = attributes()
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = p.grace
	if err := cmd.Start(); err != nil {
		return err
	}
	defer context.AfterFunc(kill, func() { cmd.Process.Kill() })()
	p.pid.Store(int64(cmd.Process.Pid))
	running, ended := context.WithCancel(stop)
	watched := make(chan struct{})
	go func() { defer close(watched); p.watch(running) }()
	err := cmd.Wait()
	ended()
	<-watched
	p.isReady.Store(false)
	p.out.end()
	return err
}

// watch waits until the program is ready, and says so if it was before.
func (p *process) watch(ctx context.Context) {
	ask := time.NewTicker(25 * time.Millisecond)
	defer ask.Stop()
	for {
		select {
		case <-ask.C:
		case <-ctx.Done():
			return
		}
		waits, err := askReady(ctx, p.url()+p.readyPath)
		if err != nil || waits != "" {
			p.waits.Store(&waits)
			continue
		}
		p.isReady.Store(true)
		if p.wasReady() {
			p.out.terminal.say("%s is ready again (process %d)", p.name, p.pid.Load())
		} else {
			close(p.ready)
		}
		return
	}
}

func (p *process) wasReady() bool {
	select {
	case <-p.ready:
		return true
	default:
		return false
	}
}

// askReady returns what the program at url waits for, "" if it is ready.
func askReady(ctx context.Context, url string) (waits string, err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	req.Close = true // an idle connection would be waited for when the program stops
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusOK {
		return "", nil
	}
	var problem struct {
		Detail string `json:"detail"`
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err != nil || json.Unmarshal(body, &problem) != nil || problem.Detail == "" {
		return resp.Status, nil
	}
	return problem.Detail, nil
}

// gaveUp repeats what the program said last, which the others' output may have
// pushed away.
func (p *process) gaveUp(err error) error {
	switch {
	case p.log != "":
		return fmt.Errorf("%s did not start (%s). Its log: %s", p.name, how(err), p.log)
	case len(p.out.last) == 0:
		return fmt.Errorf("%s could not be started (%s)", p.name, how(err))
	}
	return fmt.Errorf("%s did not start (%s). It said:\n  %s", p.name, how(err), strings.Join(p.out.last, "\n  "))
}

// killed tells whether a signal ended the program, rather than the program.
func killed(err error) bool {
	var exit *exec.ExitError
	return errors.As(err, &exit) && !exit.Exited()
}

// how says in words how a program ended.
func how(err error) string {
	if err == nil {
		return "it ended by itself"
	}
	return err.Error()
}
