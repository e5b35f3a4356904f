package observability

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/promql/parser"
	"sigs.k8s.io/yaml"

	"miniblog/test/harness"
)

// askable returns what a query may name, with its labels: the table of
// docs/operations.md, which is held to what the processes offer, what every
// process has of Go's own, and what Prometheus adds.
func askable(t *testing.T) map[string][]string {
	t.Helper()
	known := map[string][]string{"up": nil}
	for name, metric := range readDocumented(t) {
		if metric.kind != "histogram" {
			known[name] = metric.labels
			continue
		}
		for _, part := range []string{"_sum", "_count", "_bucket"} {
			known[name+part] = metric.labels
		}
		known[name+"_bucket"] = slices.Concat(metric.labels, []string{"le"})
	}
	for _, family := range harness.Must(prometheus.DefaultGatherer.Gather())(t) { // this process's own
		known[family.GetName()] = nil
	}
	return known
}

// checkQuery parses a query and looks for what it asks for.
func checkQuery(t *testing.T, known map[string][]string, where, query string) {
	t.Helper()
	expr, err := parser.NewParser(parser.Options{}).ParseExpr(query)
	if err != nil {
		t.Errorf("%s: %s: %v", where, query, err)
		return
	}
	var has, grouped []string
	selectors := 0
	parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
		switch n := node.(type) {
		case *parser.VectorSelector:
			selectors++
			its, there := known[n.Name]
			if !there {
				t.Errorf("%s asks for %s, which no service has", where, n.Name)
			}
			its = slices.Concat(its, []string{"job", "instance"})
			has = append(has, its...)
			for _, m := range n.LabelMatchers {
				if m.Name != "__name__" && !slices.Contains(its, m.Name) {
					t.Errorf("%s asks for %s by %s, a label that it does not have", where, n.Name, m.Name)
				}
			}
		case *parser.AggregateExpr:
			grouped = append(grouped, n.Grouping...)
		}
		return nil
	})
	if selectors == 0 {
		t.Errorf("%s asks for no metric: %s", where, query)
	}
	for _, label := range grouped {
		if !slices.Contains(has, label) {
			t.Errorf("%s groups by %s, a label that nothing there has: %s", where, label, query)
		}
	}
}

func folder(t *testing.T) string {
	t.Helper()
	return filepath.Join(harness.Must(harness.Root())(t), "infra", "observability")
}

// alert is one of rules.yml.
type alert struct{ Alert, Expr string }

func alerts(t *testing.T) (all []alert) {
	t.Helper()
	var rules struct{ Groups []struct{ Rules []alert } }
	if err := yaml.Unmarshal(harness.Must(os.ReadFile(filepath.Join(folder(t), "rules.yml")))(t), &rules); err != nil {
		t.Fatal(err)
	}
	for _, group := range rules.Groups {
		all = append(all, group.Rules...)
	}
	if len(all) == 0 {
		t.Fatal("rules.yml has no alerts")
	}
	return all
}

// TestAlertRules: they ask for what the services have, Prometheus' own tool tries
// them, and docs/observability.md says of each what to do.
func TestAlertRules(t *testing.T) {
	known := askable(t)
	text := string(harness.Must(os.ReadFile(filepath.Join(folder(t), "..", "..", "docs", "observability.md")))(t))
	rows := 0
	for _, a := range alerts(t) {
		checkQuery(t, known, a.Alert, a.Expr)
		if !strings.Contains(text, "\n| `"+a.Alert+"` | ") {
			t.Errorf("docs/observability.md does not say what to do about %s", a.Alert)
		}
		rows++
	}
	_, table, _ := strings.Cut(text, "\n| alert | ")
	table, _, _ = strings.Cut(table, "\n\n")
	if got := strings.Count(table, "\n| `"); got != rows {
		t.Errorf("docs/observability.md has %d alerts, rules.yml %d", got, rows)
	}
	needs(t, "promtool")
	for _, command := range [][]string{{"check", "config", "prometheus.yml"}, {"check", "rules", "rules.yml"}, {"test", "rules", "rules_test.yml"}} {
		check := exec.Command("promtool", command...)
		check.Dir = folder(t)
		if out, err := check.CombinedOutput(); err != nil {
			t.Errorf("promtool %v: %v\n%s", command, err, out)
		}
	}
}

// TestDashboardsShowWhatThereIs: every query of a dashboard is one, asks for
// metrics and labels that exist, and goes to a source that Grafana is given; and
// every metric but a few of the log's numbers is on one of them.
func TestDashboardsShowWhatThereIs(t *testing.T) {
	known := askable(t)
	var provisioned struct{ Datasources []struct{ UID, Type string } }
	if err := yaml.Unmarshal(harness.Must(os.ReadFile(filepath.Join(folder(t), "grafana/datasources/datasources.yaml")))(t), &provisioned); err != nil {
		t.Fatal(err)
	}
	sources := map[string]string{}
	for _, s := range provisioned.Datasources {
		sources[s.UID] = s.Type
	}
	files := harness.Must(filepath.Glob(filepath.Join(folder(t), "grafana/dashboards/*.json")))(t)
	var shown strings.Builder
	uids := map[string]bool{}
	for _, file := range files {
		var dashboard struct {
			UID, Title string
			Panels     []struct {
				ID         int
				Title      string
				Datasource struct{ UID, Type string }
				GridPos    struct{ X, Y, W, H int }
				Targets    []struct{ RefID, Expr string }
			}
		}
		if err := json.Unmarshal(harness.Must(os.ReadFile(file))(t), &dashboard); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if uids[dashboard.UID] || dashboard.UID == "" || dashboard.Title == "" || len(dashboard.Panels) == 0 {
			t.Errorf("%s has the uid %q, the title %q and %d panels", file, dashboard.UID, dashboard.Title, len(dashboard.Panels))
		}
		uids[dashboard.UID] = true
		ids := map[int]bool{}
		for _, panel := range dashboard.Panels {
			where := fmt.Sprintf("%s, %q", filepath.Base(file), panel.Title)
			if ids[panel.ID] || len(panel.Targets) == 0 || panel.Datasource.Type != "prometheus" || sources[panel.Datasource.UID] != "prometheus" {
				t.Errorf("%s: %+v", where, panel)
			}
			ids[panel.ID] = true
			for _, target := range panel.Targets {
				checkQuery(t, known, where, target.Expr)
				shown.WriteString(target.Expr + "\n")
			}
		}
	}
	// The cursor is what lag is counted from, the state is an alert's, segments are bytes in files, and attempts are counted.
	rest := []string{"event_bus_disk_bytes", "event_bus_log_read_only", "event_bus_log_segments", "event_bus_push_attempt_duration_seconds",
		"event_bus_subscriber_cursor_sequence", "event_bus_subscriber_state"}
	var missing []string
	for name := range maps.Keys(readDocumented(t)) {
		if !strings.Contains(shown.String(), name) {
			missing = append(missing, name)
		}
	}
	slices.Sort(missing)
	if !slices.Equal(missing, rest) {
		t.Errorf("no dashboard shows\n%q\nbut only these may be left out:\n%q", missing, rest)
	}
}
