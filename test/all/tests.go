package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
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

// runTests runs the tests of packages, and a few that fail once more: see verdict.
func runTests(ctx context.Context, packages []string) error {
	r := newReport(os.Stdout)
	begun := time.Now()
	err := goTest(ctx, r, packages...)
	r.sum(time.Since(begun))
	return r.verdict(err, alone(ctx, r))
}

// goTest runs tests with the race detector, and reports to r.
func goTest(ctx context.Context, r *report, args ...string) error {
	cmd := goCommand(ctx, append([]string{"test", "-json", "-race", "-vet=off", "-timeout", timeLimit}, args...)...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	readErr := r.read(out)
	return errors.Join(readErr, cmd.Wait())
}

// report is what became of the tests so far.
type report struct {
	w       io.Writer
	output  map[string][]string // by package and test, while it runs
	tests   map[string]int      // passed, by package
	passed  int
	skipped []skip
	failed  []string // packages and tests
	final   bool     // something failed that a second run could not excuse
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
		r.show(key)
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
		blamed := slices.ContainsFunc(r.failed, func(test string) bool { return strings.HasPrefix(test, line.Package+" ") })
		r.final = r.final || !blamed
		for test := range r.output { // a crash or the time limit ends tests without a verdict
			if strings.HasPrefix(test, line.Package+" ") {
				r.final = true
				r.show(test)
			}
		}
		r.show(key)
	}
}

// inexcusable is what no second run makes good.
var inexcusable = regexp.MustCompile(`(?m)^(WARNING: DATA RACE|panic: |fatal error: )`)

// show prints what a test or a package that failed has said.
func (r *report) show(key string) {
	said := strings.Join(r.output[key], "")
	r.final = r.final || inexcusable.MatchString(said)
	fmt.Fprint(r.w, said)
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
	var lines []string
	for _, s := range r.skipped {
		lines = append(lines, fmt.Sprintf("%s %s: %s", s.pkg, s.test, s.reason))
	}
	framed(r.w, "SKIPPED, and so NOT CHECKED:", lines)
}

// framed prints lines so that nobody overlooks them.
func framed(w io.Writer, title string, lines []string) {
	if len(lines) == 0 {
		return
	}
	frame := strings.Repeat("!", 78)
	fmt.Fprintf(w, "\n%s\n!! %s\n", frame, title)
	for _, line := range lines {
		fmt.Fprintf(w, "!!   %s\n", line)
	}
	fmt.Fprintln(w, frame)
}
