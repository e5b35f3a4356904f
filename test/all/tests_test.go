package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"
)

// said is what go test says of one package that passes, with a test that is
// skipped, of one that fails, and of one that does not compile.
const said = `
{"Action":"start","Package":"miniblog/a"}
{"Action":"run","Package":"miniblog/a","Test":"TestGood"}
{"Action":"output","Package":"miniblog/a","Test":"TestGood","Output":"    a_test.go:3: chatter\n"}
{"Action":"pass","Package":"miniblog/a","Test":"TestGood","Elapsed":0.1}
{"Action":"run","Package":"miniblog/a","Test":"TestPage"}
{"Action":"output","Package":"miniblog/a","Test":"TestPage","Output":"=== RUN   TestPage\n"}
{"Action":"output","Package":"miniblog/a","Test":"TestPage","Output":"    a_test.go:9: no browser was found\n"}
{"Action":"output","Package":"miniblog/a","Test":"TestPage","Output":"--- SKIP: TestPage (0.00s)\n"}
{"Action":"skip","Package":"miniblog/a","Test":"TestPage","Elapsed":0}
{"Action":"output","Package":"miniblog/a","Output":"PASS\n"}
{"Action":"output","Package":"miniblog/a","Output":"ok  \tminiblog/a\t0.2s\n"}
{"Action":"pass","Package":"miniblog/a","Elapsed":0.2}
{"Action":"run","Package":"miniblog/b","Test":"TestBad"}
{"Action":"output","Package":"miniblog/b","Test":"TestBad","Output":"    b_test.go:5: two is not one\n"}
{"Action":"fail","Package":"miniblog/b","Test":"TestBad","Elapsed":0}
{"Action":"run","Package":"miniblog/b","Test":"TestHangs"}
{"Action":"output","Package":"miniblog/b","Test":"TestHangs","Output":"panic: test timed out\n"}
{"Action":"output","Package":"miniblog/b","Output":"FAIL\tminiblog/b\t1.0s\n"}
{"Action":"fail","Package":"miniblog/b","Elapsed":1}
{"ImportPath":"miniblog/c [miniblog/c.test]","Action":"build-output","Output":"c_test.go:1:1: expected 'package'\n"}
{"ImportPath":"miniblog/c [miniblog/c.test]","Action":"build-fail"}
{"Action":"output","Package":"miniblog/c","Output":"FAIL\tminiblog/c [build failed]\n"}
{"Action":"fail","Package":"miniblog/c","Elapsed":0,"FailedBuild":"miniblog/c [miniblog/c.test]"}
`

func TestReportSaysWhatMatters(t *testing.T) {
	var out strings.Builder
	r := newReport(&out)
	if err := r.read(strings.NewReader(said)); err != nil {
		t.Fatal(err)
	}
	r.sum(3 * time.Second)
	for what, want := range map[string]string{
		"a package that passes":          "ok    miniblog/a ",
		"why a test failed":              "two is not one",
		"why a test had no verdict":      "panic: test timed out",
		"which package failed":           "FAIL\tminiblog/b",
		"what does not compile":          "expected 'package'",
		"how many":                       "1 tests passed, 1 failed, 1 skipped, in 3s.",
		"which test failed":              "failed: miniblog/b TestBad",
		"loudly what was not checked":    "!! SKIPPED, and so NOT CHECKED:",
		"which test, and why it was not": "miniblog/a TestPage: no browser was found",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("it does not say %s: %q", what, want)
		}
	}
	if strings.Contains(out.String(), "chatter") {
		t.Error("it repeats what tests said that passed")
	}
	if t.Failed() {
		t.Log(out.String())
	}
}

func TestFewThatFailRunOnceMoreAlone(t *testing.T) {
	const bad = `{"Action":"fail","Package":"miniblog/b","Test":"TestBad/part"}
{"Action":"fail","Package":"miniblog/b","Test":"TestBad"}
`
	const end = `{"Action":"fail","Package":"miniblog/b"}`
	var many string
	for i := range mostAgain + 1 {
		many += fmt.Sprintf(`{"Action":"fail","Package":"miniblog/b","Test":"Test%d"}`, i)
	}
	broken, passes := errors.New("exit status 1"), func(string, string) error { return nil }
	for name, c := range map[string]struct {
		said  string
		alone func(pkg, test string) error
		well  bool
	}{
		"one that passes alone":                {bad + end, passes, true},
		"one that fails again":                 {bad + end, func(string, string) error { return broken }, false},
		"many":                                 {many + end, passes, false},
		"a race":                               {`{"Action":"output","Package":"miniblog/b","Test":"TestBad","Output":"WARNING: DATA RACE\n"}` + bad + end, passes, false},
		"a crash":                              {bad + `{"Action":"output","Package":"miniblog/b","Test":"TestHangs","Output":"panic\n"}` + end, passes, false},
		"a crash with a verdict":               {`{"Action":"output","Package":"miniblog/b","Test":"TestBad","Output":"panic: index out of range\n"}` + bad + end, passes, false},
		"a package without a test that failed": {end, passes, false},
	} {
		var out strings.Builder
		r := newReport(&out)
		if err := r.read(strings.NewReader(c.said)); err != nil {
			t.Fatal(err)
		}
		var ran []string
		err := r.verdict(broken, func(pkg, test string) error { ran = append(ran, pkg+" "+test); return c.alone(pkg, test) })
		if (err == nil) != c.well {
			t.Errorf("%s: %v", name, err)
		}
		if c.well && (len(ran) != 1 || ran[0] != "miniblog/b TestBad" || !strings.Contains(out.String(), "TO BE MENDED")) {
			t.Errorf("%s: ran %v and said %s", name, ran, out.String())
		}
	}
	if err := newReport(io.Discard).verdict(nil, passes); err != nil {
		t.Error(err)
	}
}
