package observability

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"

	"miniblog/test/harness"
)

// TestAlertRules: Prometheus' own tool tries them, and what they ask for is in the
// table of docs/operations.md, which is held to what the processes offer.
func TestAlertRules(t *testing.T) {
	folder := filepath.Join(harness.Must(harness.Root())(t), "infra", "observability")
	table := readDocumented(t)
	rules := harness.Must(os.ReadFile(filepath.Join(folder, "rules.yml")))(t)
	names := regexp.MustCompile(`\b(?:event_bus|projection|http|live)_[a-z_]+`).FindAllString(string(rules), -1)
	if len(names) == 0 {
		t.Fatal("the rules ask for no metric")
	}
	for _, name := range names {
		if _, known := table[name]; !known {
			t.Errorf("rules.yml asks for %s, which no service has", name)
		}
	}
	needs(t, "promtool")
	for _, command := range [][]string{{"check", "rules", "rules.yml"}, {"test", "rules", "rules_test.yml"}} {
		check := exec.Command("promtool", command...)
		check.Dir = folder
		if out, err := check.CombinedOutput(); err != nil {
			t.Errorf("promtool %v: %v\n%s", command, err, out)
		}
	}
}
