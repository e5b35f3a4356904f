package docs

import (
	"context"
	"fmt"
	"net/url"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"miniblog/test/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

// step is a command of docs/api.md and the answer below it.
type step struct {
	command string
	answer  []string // lines, without empty ones
}

// steps returns what the tour tries, in its order.
func steps(t *testing.T) []step {
	t.Helper()
	var list []step
	for _, block := range regexp.MustCompile("(?s)```console\n(.*?)```").FindAllStringSubmatch(read(t, "docs/api.md"), -1) {
		for line := range strings.Lines(block[1]) {
			line = strings.TrimSuffix(line, "\n")
			if command, ok := strings.CutPrefix(line, "$ "); ok {
				list = append(list, step{command: command})
			} else if line != "" {
				last := &list[len(list)-1]
				last.answer = append(last.answer, line)
			}
		}
	}
	return list
}

// reads tells whether the command changes nothing, so that it may be tried
// until what was done before has taken its way.
func (s step) reads() bool { return !regexp.MustCompile(` (--json|-d|-X) `).MatchString(s.command) }

func TestAnswersOfTheTourAreReal(t *testing.T) {
	needs(t, "curl")
	blog := harness.StartBlog(t, harness.Config{})
	host := map[string]string{ // as the tour names it, as it is here
		"localhost:3000": blog.PageURL, "localhost:4000": blog.Posts.URL, "localhost:4001": blog.Comments.URL,
		"localhost:4002": blog.Query.URL, "localhost:4003": blog.Moderation.URL, "localhost:4005": blog.Bus.URL,
	}
	var here, there []string
	for name, address := range host {
		u, err := url.Parse(address)
		if err != nil {
			t.Fatal(err)
		}
		here, there = append(here, name, u.Host), append(there, u.Host, name)
	}
	toHere, toTour := strings.NewReplacer(here...), strings.NewReplacer(there...)
	for _, s := range steps(t) {
		if !strings.HasPrefix(s.command, "curl ") || strings.Contains(s.command, "localhost:4010") {
			continue // of the example, which has a test of its own
		}
		try := func() error {
			answer := curl(t, toHere.Replace(s.command))
			return s.check(toTour.Replace(answer))
		}
		if s.reads() {
			harness.Eventually(t, 20*time.Second, try)
		} else if err := try(); err != nil {
			t.Fatal(err)
		}
	}
}

// curl runs a command of the tour; a stream is cut off after a while.
func curl(t *testing.T, command string) string {
	t.Helper()
	quiet := "curl -sS "
	if strings.Contains(command, " -N ") {
		quiet += "-m 1 "
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, "sh", "-c", strings.ReplaceAll(command, "curl ", quiet)).CombinedOutput()
	if err != nil && !strings.Contains(command, " -N ") {
		t.Fatalf("%s: %v\n%s", command, err, out)
	}
	return string(out)
}

// What differs each time: when it was, and the ids that were made up then.
var (
	moment = regexp.MustCompile(`\d{4}-\d\d-\d\dT[\d:.]+Z`)
	made   = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}`)
)

func normal(line string) string {
	return made.ReplaceAllString(moment.ReplaceAllString(strings.TrimRight(line, "\r"), "<moment>"), "<id>")
}

// check looks for the answer's lines in got, in their order.
func (s step) check(got string) error {
	rest := strings.Split(got, "\n")
	for _, want := range s.answer {
		at := 0
		for at < len(rest) && normal(rest[at]) != normal(want) {
			at++
		}
		if at == len(rest) {
			return fmt.Errorf("$ %s\nanswers\n%s\nwithout, in its place, the line of docs/api.md\n%s", s.command, got, want)
		}
		rest = rest[at+1:]
	}
	return nil
}

// TestTourTriesEveryRoute reads the routes from the source.
func TestTourTriesEveryRoute(t *testing.T) {
	var commands []string
	for _, s := range steps(t) {
		commands = append(commands, s.command)
	}
	all := strings.Join(commands, "\n")
	for service, port := range services {
		files, err := filepath.Glob(filepath.Join(root, service, "*.go"))
		if err != nil || len(files) == 0 {
			t.Fatalf("no source of %s: %v", service, err)
		}
		for _, route := range find(`"((?:GET|POST) /[^"]*)":`, sources(t, false, service)) {
			method, path, _ := strings.Cut(route, " ")
			path = strings.TrimSuffix(path, "{$}")
			pattern := regexp.MustCompile(`\\\{\w+\\\}`).ReplaceAllString(regexp.QuoteMeta("localhost:"+port+strings.TrimSuffix(path, "/")), `[^/ ']+`)
			tried := false
			for command := range strings.SplitSeq(all, "\n") {
				found := regexp.MustCompile(pattern + `(?:[?' ]|$|/config)`).MatchString(command)
				tried = tried || found && (step{command: command}).reads() == (method == "GET")
			}
			if !tried {
				t.Errorf("docs/api.md does not try %s of %s", route, service)
			}
		}
	}
}
