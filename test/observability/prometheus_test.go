package observability

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"miniblog/test/harness"
)

// startPrometheus starts Prometheus itself with our configuration, except that
// the services are where they are here, and that it asks more often. It returns
// its URL.
func startPrometheus(t *testing.T, blog *harness.Blog) string {
	t.Helper()
	needs(t, "prometheus")
	type group struct {
		Targets []string `json:"targets"`
	}
	var config struct {
		Global    map[string]string `json:"global"`
		RuleFiles []string          `json:"rule_files"`
		Jobs      []struct {
			Name   string  `json:"job_name"`
			Static []group `json:"static_configs"`
		} `json:"scrape_configs"`
	}
	if err := yaml.Unmarshal(harness.Must(os.ReadFile(filepath.Join(folder(t), "prometheus.yml")))(t), &config); err != nil {
		t.Fatal(err)
	}
	config.Global = map[string]string{"scrape_interval": "500ms", "evaluation_interval": "1s"}
	for i, file := range config.RuleFiles {
		config.RuleFiles[i] = filepath.Join(folder(t), file)
	}
	for i, job := range config.Jobs {
		p := process(blog, job.Name)
		if p == nil {
			t.Fatalf("prometheus.yml has the job %q, which no service is", job.Name)
		}
		config.Jobs[i].Static = []group{{[]string{strings.TrimPrefix(p.URL, "http://")}}}
	}
	dir, address := t.TempDir(), harness.FreeAddress(t)
	file := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(file, harness.Must(yaml.Marshal(config))(t), 0o644); err != nil {
		t.Fatal(err)
	}
	output := harness.Must(os.Create(filepath.Join(dir, "output")))(t)
	command := exec.Command("prometheus", "--config.file="+file, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+address)
	command.Stdout, command.Stderr = output, output
	wait := harness.Must(harness.Tied(command))(t)
	t.Cleanup(func() {
		command.Process.Kill()
		wait()
		output.Close()
		if text, err := os.ReadFile(output.Name()); err == nil && t.Failed() {
			t.Logf("Prometheus wrote:\n%s", text)
		}
	})
	return "http://" + address
}

// ask asks Prometheus' API.
func ask(t *testing.T, url string, data any) error {
	answer, err := harness.Send(t.Context(), http.MethodGet, url, "")
	if err != nil {
		return err
	}
	if answer.Status != http.StatusOK {
		return fmt.Errorf("%d %s", answer.Status, answer.Body)
	}
	return json.Unmarshal(answer.Body, &struct{ Data any }{data})
}

// It asks a real Prometheus what the dashboards ask, while things happen, and what
// it thinks of the alert rules; then one service dies.
func TestPrometheusItselfHasDataForEveryDashboardAndNoAlertOfAHealthyBlog(t *testing.T) {
	t.Parallel()
	blog := newBlog(t)
	for _, p := range blog.Processes() {
		p.Start()
	}
	blog.AwaitReady()
	prometheus := startPrometheus(t, blog)
	harness.Follow(t, blog.QueryURL+"/posts/live")
	post := blog.MustPost(t, "Measured")

	var queries []string
	for _, file := range harness.Must(filepath.Glob(filepath.Join(folder(t), "grafana/dashboards/*.json")))(t) {
		var dashboard struct {
			Panels []struct{ Targets []struct{ Expr string } }
		}
		if err := json.Unmarshal(harness.Must(os.ReadFile(file))(t), &dashboard); err != nil {
			t.Fatal(err)
		}
		for _, panel := range dashboard.Panels {
			for _, target := range panel.Targets {
				queries = append(queries, target.Expr)
			}
		}
	}
	harness.Eventually(t, limit, func() error {
		comment(t, blog, post.ID, "what a rate is made of")
		for _, query := range queries {
			var data struct{ Result []struct{ Value [2]any } }
			if err := ask(t, prometheus+"/api/v1/query?query="+url.QueryEscape(query), &data); err != nil {
				return err
			}
			if !slices.ContainsFunc(data.Result, func(series struct{ Value [2]any }) bool { return series.Value[1] != "NaN" }) {
				return fmt.Errorf("%s has no data: %v", query, data.Result)
			}
		}
		return nil
	})
	harness.Eventually(t, limit, func() error {
		var data struct {
			Groups []struct {
				Rules []struct {
					Name, Health, State, LastError string
					LastEvaluation                 time.Time
				}
			}
		}
		if err := ask(t, prometheus+"/api/v1/rules", &data); err != nil {
			return err
		}
		var loaded []string
		for _, group := range data.Groups {
			for _, rule := range group.Rules {
				loaded = append(loaded, rule.Name)
				if rule.Health != "ok" || rule.State != "inactive" || rule.LastEvaluation.IsZero() {
					return fmt.Errorf("%s is %s and %s: %s", rule.Name, rule.Health, rule.State, rule.LastError)
				}
			}
		}
		for _, a := range alerts(t) {
			if !slices.Contains(loaded, a.Alert) {
				return fmt.Errorf("it has loaded %v, and not %s", loaded, a.Alert)
			}
		}
		return nil
	})

	blog.Moderation.Copies[0].Kill()
	harness.Eventually(t, limit, func() error {
		var data struct {
			Alerts []struct{ Labels map[string]string }
		}
		if err := ask(t, prometheus+"/api/v1/alerts", &data); err != nil {
			return err
		}
		for _, alert := range data.Alerts {
			if alert.Labels["alertname"] == "ServiceDown" && alert.Labels["job"] == "moderation" {
				return nil
			}
		}
		return fmt.Errorf("moderation is down, and the alerts are %v", data.Alerts)
	})
}
