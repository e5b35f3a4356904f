package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// timeLimit ends a package whose tests hang, with a dump of all goroutines.
const timeLimit = "8m"

// record is a line of "go test -json" (go doc test2json).
type record struct {
	Action     string
	Package    string
	ImportPath string // of a build
	Test       string
	Elapsed    float64 // seconds
	Output     string
}

// runTests runs the tests of packages, with the race detector.
func runTests(ctx context.Context, packages []string) error {
	cmd := goCommand(ctx, append([]string{"test", "-json", "-race", "-vet=off", "-timeout", timeLimit}, packages...)...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	r := newReport(os.Stdout)
	begun := time.Now()
	readErr := r.read(out)
	err = errors.Join(readErr, cmd.Wait())
	r.sum(time.Since(begun))
	return err
}

// report is what became of the tests so far.
type report struct {
	w       io.Writer
	output  map[string][]string // by package and test, while it runs
	tests   map[string]int      // passed, by package
	passed  int
	skipped []skip
	failed  []string
}

func newReport(w io.Writer) *report {
	return &report{w: w, output: map[string][]string{}, tests: map[string]int{}}
}

// skip is a test that did not run, and why.
type skip struct{ pkg, test, reason string }

// read follows the records, and prints what matters of them as it happens.
func (r *report) read(out io.Reader) error {
	d := jsontext.NewDecoder(out)
	for {
		var line record
		if err := json.UnmarshalDecode(d, &line); err == io.EOF {
			return nil
		} else if err != nil {
			return fmt.Errorf("reading what go test says: %w", err)
		}
		if line.Action == "build-output" {
			fmt.Fprint(r.w, line.Output)
		} else if line.Test == "" {
			r.ofPackage(line)
		} else {
			r.ofTest(line)
		}
	}
}

func (r *report) ofTest(line record) {
	key := line.Package + " " + line.Test
	switch line.Action {
	case "output":
		r.output[key] = append(r.output[key], line.Output)
		return
	case "pass":
		r.passed++
		r.tests[line.Package]++
	case "skip":
		r.skipped = append(r.skipped, skip{line.Package, line.Test, reason(r.output[key])})
	case "fail":
		r.failed = append(r.failed, key)
		fmt.Fprint(r.w, strings.Join(r.output[key], ""))
	default:
		return
	}
	delete(r.output, key)
}

// ofPackage prints the verdict on a package and what it wrote outside its
// tests, unless all is well.
func (r *report) ofPackage(line record) {
	key := line.Package
	switch line.Action {
	case "output":
		if !strings.HasPrefix(line.Output, "ok ") && !strings.HasPrefix(line.Output, "PASS") && !strings.HasPrefix(line.Output, "?") {
			r.output[key] = append(r.output[key], line.Output)
		}
	case "pass":
		fmt.Fprintf(r.w, "ok    %-32s %3d tests  %6.1f s\n", line.Package, r.tests[line.Package], line.Elapsed)
	case "fail":
		for test, output := range r.output { // a crash or the time limit ends tests without a verdict
			if strings.HasPrefix(test, line.Package+" ") {
				fmt.Fprint(r.w, strings.Join(output, ""))
			}
		}
		fmt.Fprint(r.w, strings.Join(r.output[key], ""))
	}
}

// reason is what a test said when it skipped itself.
func reason(output []string) string {
	for _, line := range output {
		line = strings.TrimSpace(line)
		if _, said, ok := strings.Cut(line, ".go:"); ok && !strings.HasPrefix(line, "---") {
			_, said, _ = strings.Cut(said, ": ")
			return said
		}
	}
	return "it does not say why"
}

// sum says what it all came to, and loudly what was not checked.
func (r *report) sum(took time.Duration) {
	fmt.Fprintf(r.w, "\n%d tests passed, %d failed, %d skipped, in %v.\n", r.passed, len(r.failed), len(r.skipped), took.Round(time.Second))
	for _, test := range r.failed {
		fmt.Fprintf(r.w, "  failed: %s\n", test)
	}
	if len(r.skipped) == 0 {
		return
	}
	frame := strings.Repeat("!", 78)
	fmt.Fprintf(r.w, "\n%s\n!! SKIPPED, and so NOT CHECKED:\n", frame)
	for _, s := range r.skipped {
		fmt.Fprintf(r.w, "!!   %s %s: %s\n", s.pkg, s.test, s.reason)
	}
	fmt.Fprintln(r.w, frame)
}
