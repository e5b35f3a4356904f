package main

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

// mostAgain is how many tests get a second run. More that fail are no accident.
const mostAgain = 5

// verdict runs what failed once more, each test alone: a real browser or three
// real servers may miss a limit of time because a hundred other tests had the
// processors. It returns the first run's error unless all of them pass then.
// A race, a crash, a time limit and a build that fails stand as they are.
func (r *report) verdict(err error, alone func(pkg, test string) error) error {
	tests := topmost(r.failed)
	if err == nil || r.final || len(tests) == 0 || len(tests) > mostAgain {
		return err
	}
	var failed []string
	for _, key := range tests {
		pkg, test, _ := strings.Cut(key, " ")
		fmt.Fprintf(r.w, "\nAgain, alone: %s\n", key)
		if alone(pkg, test) != nil {
			failed = append(failed, key)
		}
	}
	if len(failed) > 0 {
		return fmt.Errorf("%w; alone, too: %s", err, strings.Join(failed, ", "))
	}
	framed(r.w, "FAILED BESIDE OTHERS AND PASSED ALONE, and so TO BE MENDED:", tests)
	return nil
}

// alone runs one test with the machine to itself.
func alone(ctx context.Context, r *report) func(pkg, test string) error {
	return func(pkg, test string) error {
		once := newReport(r.w)
		begun := time.Now()
		err := goTest(ctx, once, "-count=1", "-parallel=1", "-run", "^"+regexp.QuoteMeta(test)+"$", pkg)
		once.sum(time.Since(begun))
		return err
	}
}

// topmost returns the tests that failed; failed also has their subtests. A path of
// a package has slashes, too.
func topmost(failed []string) (tests []string) {
	for _, key := range failed {
		pkg, test, _ := strings.Cut(key, " ")
		test, _, _ = strings.Cut(test, "/")
		tests = append(tests, pkg+" "+test)
	}
	slices.Sort(tests)
	return slices.Compact(tests)
}
