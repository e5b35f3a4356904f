package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
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
	var errs []error
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
			if err := fuzzOne(ctx, pkg, string(match[1]), long); err != nil {
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}

func fuzzOne(ctx context.Context, pkg, target string, long time.Duration) error {
	var out []byte
	var err error
	for range 3 {
		cmd := goCommand(ctx, "test", "-vet=off", "-run", "^$", "-fuzz", "^"+target+"$", "-fuzztime", long.String(), pkg)
		// Where the time ends at an unlucky moment the fuzzer calls that a failure; one
		// that it has found comes with its input (go.dev/issue/75804).
		if out, err = cmd.Output(); err == nil || !bytes.Contains(out, []byte("context deadline exceeded")) || bytes.Contains(out, []byte("Failing input")) {
			break
		}
	}
	if err != nil {
		fmt.Printf("%s", out)
		return fmt.Errorf("%s in %s: %w", target, pkg, err)
	}
	fmt.Printf("ok    %-32s %-26s %s\n", pkg, target, progress(out))
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
