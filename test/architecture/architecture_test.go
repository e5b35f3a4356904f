// Package architecture holds the rules of the architecture that a compiler can check:
// who may import whom, and how large things may grow.
package architecture

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "miniblog/"

// ours says which packages of ours a package may import, its tests left aside.
// A package that is new has to be entered: where it belongs is a decision.
var ours = map[string][]string{
	"docs/api":            {},
	"internal/disk":       {},
	"internal/event":      {},
	"internal/wire":       {"internal/event"},
	"internal/fault":      {},
	"internal/web":        {"internal/fault"},
	"internal/trace":      {"internal/event", "internal/wire"},
	"internal/trace/otlp": {"internal/event", "internal/trace"},
	"internal/service":    {"internal/disk", "internal/trace", "internal/trace/otlp", "internal/web"},
	"internal/bus":        {"internal/event", "internal/fault", "internal/trace", "internal/wire"},
	"internal/projection": {"internal/bus", "internal/disk", "internal/event", "internal/fault", "internal/trace", "internal/web", "internal/wire"},
	"internal/reaction":   {"internal/bus", "internal/event", "internal/trace", "internal/web", "internal/wire"},
	"internal/feed":       {"internal/event", "internal/trace", "internal/web"},
	"internal/page":       {"internal/web"},
	"internal/pagecache":  {"internal/web"},

	// The log has one owner. The bus is nobody's client.
	"event-bus/eventlog": {"internal/disk", "internal/event"},
	"event-bus/cluster":  {"event-bus/eventlog", "event-bus/push", "internal/disk", "internal/event"},
	"event-bus/move":     {"event-bus/cluster", "event-bus/eventlog", "event-bus/push", "internal/disk", "internal/event"},
	"event-bus/activity": {"event-bus/eventlog", "internal/disk", "internal/event", "internal/web", "internal/wire"},
	"event-bus/metrics":  {"event-bus/activity", "event-bus/eventlog", "event-bus/push", "internal/disk"},
	"event-bus/push":     {"event-bus/activity", "event-bus/eventlog", "internal/disk", "internal/event", "internal/trace", "internal/wire"},
	"event-bus/api":      {"event-bus/activity", "event-bus/eventlog", "event-bus/push", "internal/event", "internal/trace", "internal/web", "internal/wire"},
	"event-bus/console":  {"docs/api", "event-bus/cluster", "event-bus/eventlog", "internal/event", "internal/page", "internal/web"},
	"event-bus":          {"event-bus/activity", "event-bus/api", "event-bus/cluster", "event-bus/console", "event-bus/eventlog", "event-bus/metrics", "event-bus/move", "event-bus/push", "internal/service"},

	// No service imports another. They share the envelope and the way to the bus.
	"posts":    {"internal/bus", "internal/event", "internal/projection", "internal/reaction", "internal/service", "internal/web"},
	"comments": {"internal/bus", "internal/event", "internal/fault", "internal/projection", "internal/reaction", "internal/service", "internal/web"},
	"query":    {"internal/bus", "internal/event", "internal/feed", "internal/pagecache", "internal/projection", "internal/reaction", "internal/service", "internal/web"},

	// A reaction keeps no state: it has no projection.
	"moderation": {"internal/bus", "internal/event", "internal/reaction", "internal/service", "internal/web"},
	// The page knows the services by their HTTP routes alone.
	"client": {"internal/page", "internal/service", "internal/web"},

	// Whoever writes a service of their own needs nothing of ours.
	"examples/statistics": {},
	"infra/run":           {},
}

// forTests are packages that only tests import; what they import is free.
var forTests = []string{"test", "event-bus/cluster/natstest", "event-bus/eventlog/logtest", "internal/bus/bustest", "internal/projection/projectiontest", "internal/service/servicetest", "internal/disk/crashdisk"}

// theirs are the modules of others that programs may use, and the only
// packages of ours that may use each; nil: any.
var theirs = map[string][]string{
	"github.com/go-json-experiment/json":  nil,
	"github.com/google/uuid":              {"internal/event", "event-bus/eventlog"},
	"github.com/klauspost/compress":       {"internal/bus", "event-bus/api", "event-bus/cluster", "event-bus/eventlog"},
	"github.com/nats-io/nats.go":          {"event-bus/cluster"},
	"github.com/prometheus/client_golang": nil,
	"github.com/rs/cors":                  {"internal/web"},
	"go.opentelemetry.io/otel/exporters":  {"internal/trace/otlp"},
	"go.opentelemetry.io/otel/sdk":        {"internal/trace/otlp"},
	"go.opentelemetry.io/otel":            {"internal/trace", "internal/trace/otlp"},
	"go.opentelemetry.io/proto/otlp":      {"internal/trace/otlp"},
	"google.golang.org/protobuf":          {"internal/trace/otlp"},
	"golang.org/x/sync":                   nil,
	"golang.org/x/sys":                    {"internal/disk"},
	"golang.org/x/text":                   {"moderation"},
	"zombiezen.com/go/sqlite":             {"internal/projection"},
	"sigs.k8s.io/yaml":                    {"event-bus/console"},
}

// goPackage is what "go list -json" says of a package.
type goPackage struct {
	ImportPath string
	Dir        string
	Name       string
	GoFiles    []string
	Imports    []string
}

func list(t *testing.T) []goPackage {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Dir,Name,GoFiles,Imports", module+"...")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.String())
	}
	var packages []goPackage
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p goPackage
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return packages
		} else if err != nil {
			t.Fatal(err)
		}
		if len(p.GoFiles) > 0 {
			packages = append(packages, p)
		}
	}
}

func within(path, folder string) bool { return path == folder || strings.HasPrefix(path, folder+"/") }

func isForTests(path string) bool {
	return slices.ContainsFunc(forTests, func(folder string) bool { return within(path, folder) })
}

func TestPackagesImportOnlyWhatTheyMay(t *testing.T) {
	seen := map[string]bool{}
	for _, p := range list(t) {
		name := strings.TrimPrefix(p.ImportPath, module)
		if isForTests(name) {
			continue
		}
		seen[name] = true
		allowed, known := ours[name]
		if !known {
			t.Errorf("%s is new: enter it in this test, with what it may import", name)
		}
		for _, path := range p.Imports {
			if other, isOurs := strings.CutPrefix(path, module); isOurs {
				if known && !slices.Contains(allowed, other) {
					t.Errorf("%s imports %s", name, other)
				}
				continue
			}
			if host, _, _ := strings.Cut(path, "/"); strings.Contains(host, ".") {
				checkTheirs(t, name, path)
			}
			if path == "testing" {
				t.Errorf("%s imports testing", name)
			}
		}
	}
	for name := range ours {
		if !seen[name] {
			t.Errorf("%s does not exist any more: take it out of this test", name)
		}
	}
}

func checkTheirs(t *testing.T, name, path string) {
	t.Helper()
	longest := ""
	for other := range maps.Keys(theirs) {
		if within(path, other) && len(other) > len(longest) {
			longest = other
		}
	}
	users, known := theirs[longest]
	switch {
	case !known:
		t.Errorf("%s imports %s: programs use few modules of others, and this is not one of them", name, path)
	case users != nil && !slices.Contains(users, name):
		t.Errorf("%s imports %s, which only %v may", name, path, users)
	}
}

func TestCodeStaysSmallEnoughToRead(t *testing.T) {
	const most = 400 // lines
	for _, p := range list(t) {
		name := strings.TrimPrefix(p.ImportPath, module)
		if isForTests(name) {
			continue
		}
		total := 0
		for _, file := range p.GoFiles {
			text, err := os.ReadFile(filepath.Join(p.Dir, file))
			if err != nil {
				t.Fatal(err)
			}
			lines := bytes.Count(text, []byte("\n"))
			total += lines
			if lines > most {
				t.Errorf("%s/%s has %d lines: is it still about one thing?", name, file, lines)
			}
		}
		if p.Name == "main" && !strings.Contains(name, "/") && total > most {
			t.Errorf("the service %s has %d lines and should be read in one sitting", name, total)
		}
	}
}
