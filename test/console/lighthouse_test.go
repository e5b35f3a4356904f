package console

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"miniblog/test/browser"
	"miniblog/test/harness"
)

var lighthouse = flag.Bool("lighthouse", false, "let Lighthouse judge the pages; its figure for performance needs a quiet machine")

// TestLighthouseIsContent asks for 95 of 100 in all four categories, of both
// pages, as a phone and as a desktop.
func TestLighthouseIsContent(t *testing.T) {
	if !*lighthouse {
		t.Skip("its figure for performance needs a quiet machine: go test ./test/console -run Lighthouse -lighthouse")
	}
	program := harness.NodeProgram(t, "lighthouse")
	blog := harness.StartBlog(t, harness.Config{})
	post := blog.MustPost(t, "A post to look at")
	blog.MustComment(t, post.ID, "A comment to look at")
	for page, url := range map[string]string{"console": blog.Bus.URL, "blog": blog.PageURL} {
		for _, preset := range []string{"perf", "desktop"} { // perf is a phone
			t.Run(page+" "+preset, func(t *testing.T) {
				report := filepath.Join(t.TempDir(), "report.json")
				judge := exec.CommandContext(t.Context(), program, url, "--quiet", "--output=json", "--output-path="+report,
					"--max-wait-for-load=15000", // the pages' streams never end
					"--only-categories=performance,accessibility,best-practices,seo",
					"--chrome-flags=--headless --no-sandbox --disable-gpu --disable-background-networking --disable-component-update --disable-sync")
				if preset == "desktop" {
					judge.Args = append(judge.Args, "--preset=desktop")
				}
				judge.Env = append(os.Environ(), "CHROME_PATH="+browser.Path(t))
				if out, err := judge.CombinedOutput(); err != nil {
					t.Fatalf("lighthouse: %v\n%s", err, out)
				}
				var verdict struct {
					Categories map[string]struct{ Score float64 }
				}
				if err := json.Unmarshal(harness.Must(os.ReadFile(report))(t), &verdict); err != nil {
					t.Fatal(err)
				}
				if len(verdict.Categories) != 4 {
					t.Errorf("judged %d categories, want 4", len(verdict.Categories))
				}
				for name, category := range verdict.Categories {
					if points := fmt.Sprintf("%.0f", 100*category.Score); category.Score < .95 {
						t.Errorf("%s: %s of 100", name, points)
					} else {
						t.Logf("%s: %s of 100", name, points)
					}
				}
			})
		}
	}
}
