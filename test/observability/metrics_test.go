package observability

import (
	"bytes"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"miniblog/test/harness"
)

// names are the services, as docs/operations.md calls them.
var names = []string{"client", "comments", "event-bus", "moderation", "posts", "query"}

// documented is a row of the table of metrics in docs/operations.md.
type documented struct {
	kind     string // counter, gauge or histogram
	services []string
	labels   []string
}

var row = regexp.MustCompile("(?m)^\\| `([a-z_]+)`(?: \\{([^}]*)\\})? \\| (counter|gauge|histogram) \\| ([^|]*) \\|")

// readDocumented reads that table.
func readDocumented(t *testing.T) map[string]documented {
	t.Helper()
	text := harness.Must(os.ReadFile(filepath.Join(harness.Must(harness.Root())(t), "docs", "operations.md")))(t)
	table := map[string]documented{}
	for _, m := range row.FindAllStringSubmatch(string(text), -1) {
		services := strings.Split(m[4], ", ")
		if m[4] == "all" {
			services = names
		}
		table[m[1]] = documented{m[3], services, strings.Split(m[2], ", ")}
	}
	return table
}

var family = regexp.MustCompile(`(?m)^# TYPE (\S+) (\S+)$`)

// scrape returns the metrics that a process offers, without those of Go's own
// libraries.
func scrape(t *testing.T, p *harness.Process) (kinds map[string]string, text []byte) {
	t.Helper()
	text = harness.Must(harness.Send(t.Context(), http.MethodGet, p.URL+"/metrics", ""))(t).Body
	kinds = map[string]string{}
	for _, m := range family.FindAllStringSubmatch(string(text), -1) {
		if !slices.ContainsFunc([]string{"go_", "process_", "promhttp_"}, func(prefix string) bool { return strings.HasPrefix(m[1], prefix) }) {
			kinds[m[1]] = m[2]
		}
	}
	return kinds, text
}

// process returns the process of a service.
func process(blog *harness.Blog, service string) *harness.Process {
	for _, p := range blog.Processes() {
		if p.Name == service {
			return p
		}
	}
	return nil
}

// TestMetricsAreThoseThatAreDocumented compares docs/operations.md with what the
// processes offer once a comment has gone all its way, in both directions.
func TestMetricsAreThoseThatAreDocumented(t *testing.T) {
	blog := newBlog(t)
	for _, p := range blog.Processes() {
		p.Start()
	}
	blog.AwaitReady()
	post := blog.MustPost(t, "Measured")
	comment(t, blog, post.ID, "A comment")
	table := readDocumented(t)
	for _, name := range names {
		want := map[string]string{}
		for metric, row := range table {
			if slices.Contains(row.services, name) {
				want[metric] = row.kind
			}
		}
		harness.Eventually(t, limit, func() error { // some are there once the comment is decided
			got, _ := scrape(t, process(blog, name))
			if maps.Equal(got, want) {
				return nil
			}
			return fmt.Errorf("%s offers\n%v\nand docs/operations.md says\n%v", name, lines(got), lines(want))
		})
	}

	t.Run("values are those of the blog", func(t *testing.T) {
		harness.Eventually(t, limit, func() error {
			_, bus := scrape(t, process(blog, "event-bus"))
			_, query := scrape(t, process(blog, "query"))
			for _, want := range []struct {
				text   []byte
				sample string
			}{
				{bus, "event_bus_log_last_sequence 4"},
				{bus, `event_bus_subscriber_lag_events{subscriber="moderation"} 0`},
				{bus, `event_bus_subscriber_state{state="up",subscriber="comments"} 1`},
				{bus, `event_bus_push_attempts_total{outcome="delivered",subscriber="moderation"} 1`},
				{bus, "event_bus_log_read_only 0"},
				{bus, "event_bus_append_duration_seconds_count 4"},
				{query, "projection_checkpoint_sequence 4"},
				{query, "projection_following 1"},
				{query, "projection_rebuilds_total 0"},
			} {
				if !bytes.Contains(want.text, []byte("\n"+want.sample+"\n")) {
					return fmt.Errorf("there is no %s", want.sample)
				}
			}
			if !regexp.MustCompile(`(?m)^event_bus_follower_lag_events\{copy="[^"]+",follower="query"\} 0$`).Match(bus) {
				return fmt.Errorf("query is no follower without lag")
			}
			return nil
		})
	})
	t.Run("names and texts are as Prometheus has them", func(t *testing.T) {
		needs(t, "promtool")
		for _, name := range names {
			_, text := scrape(t, process(blog, name))
			check := exec.Command("promtool", "check", "metrics")
			check.Stdin = bytes.NewReader(text)
			if out, err := check.CombinedOutput(); err != nil {
				t.Errorf("%s: %v\n%s", name, err, out)
			}
		}
	})
}

// lines returns metrics with their kinds, sorted.
func lines(kinds map[string]string) string {
	var all []string
	for metric, kind := range kinds {
		all = append(all, metric+" "+kind)
	}
	slices.Sort(all)
	return strings.Join(all, "\n")
}

// needs skips the test where a program is missing, and fails it in CI.
func needs(t *testing.T, program string) {
	t.Helper()
	if _, err := exec.LookPath(program); err == nil {
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s is missing", program)
	}
	t.Skipf("SKIPPED, NOT CHECKED: %s is missing", program)
}
