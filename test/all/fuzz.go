package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"time"
)

var fuzzTarget = regexp.MustCompile(`(?m)^func (Fuzz\w*)\(`)

// fuzz runs every fuzz target of packages for that long. It finds them in the
// source: asking the tests for them would build them all once more.
func fuzz(ctx context.Context, packages []string, long time.Duration) error {
	list := goCommand(ctx, append([]string{"list", "-f", `{{$p := .}}{{range .TestGoFiles}}{{$p.ImportPath}} {{$p.Dir}} {{.}}{{"\n"}}{{end}}{{range .XTestGoFiles}}{{$p.ImportPath}} {{$p.Dir}} {{.}}{{"\n"}}{{end}}`}, packages...)...)
	out, err := list.Output()
	if err != nil {
		return fmt.Errorf("listing the tests: %w", err)
	}
	var targets []target
	for line := range strings.Lines(string(out)) {
		pkg, file, ok := strings.Cut(strings.TrimSpace(line), " ")
		dir, name, ok2 := cutLast(file, " ")
		if !ok || !ok2 {
			continue
		}
		source, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		for _, match := range fuzzTarget.FindAllSubmatch(source, -1) {
			targets = append(targets, target{pkg, string(match[1])})
		}
	}
	return fuzzAll(ctx, targets, long)
}

// target is a fuzz target.
type target struct{ pkg, name string }

// fuzzAll runs as many targets at once as there are processors, each on one.
func fuzzAll(ctx context.Context, targets []target, long time.Duration) error {
	next := make(chan int)
	errs := make([]error, len(targets))
	var running sync.WaitGroup
	for range runtime.NumCPU() {
		running.Go(func() {
			for i := range next {
				errs[i] = targets[i].fuzz(ctx, long)
			}
		})
	}
	for i := range targets {
		next <- i
	}
	close(next)
	running.Wait()
	return errors.Join(errs...)
}

func (t target) fuzz(ctx context.Context, long time.Duration) error {
	var out []byte
	var err error
	for range 3 {
		cmd := goCommand(ctx, "test", "-vet=off", "-parallel", "1", "-run", "^$", "-fuzz", "^"+t.name+"$", "-fuzztime", long.String(), t.pkg)
		// Where the time ends at an unlucky moment the fuzzer calls that a failure; one
		// that it has found comes with its input (go.dev/issue/75804).
		if out, err = cmd.Output(); err == nil || !bytes.Contains(out, []byte("context deadline exceeded")) || bytes.Contains(out, []byte("Failing input")) {
			break
		}
	}
	if err != nil {
		fmt.Printf("%s", out)
		return fmt.Errorf("%s in %s: %w", t.name, t.pkg, err)
	}
	fmt.Printf("ok    %-32s %-26s %s\n", t.pkg, t.name, progress(out))
	return nil
}

// progress is the last thing that the fuzzer said about itself.
func progress(out []byte) (said string) {
	for line := range bytes.Lines(out) {
		if text, ok := strings.CutPrefix(strings.TrimSpace(string(line)), "fuzz: elapsed: "); ok {
			said = text
		}
	}
	return said
}

func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}
