// Package docs holds what the documents say to what the programs do.
package docs

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const root = "../.."

// services are the folders of the programs, and the ports that the documents
// name.
var services = map[string]string{
	"client": "3000", "posts": "4000", "comments": "4001", "query": "4002", "moderation": "4003", "event-bus": "4005",
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// documents are the Markdown files of the project, by their path from its root.
func documents(t *testing.T) map[string]string {
	t.Helper()
	texts := map[string]string{"README.md": read(t, "README.md")}
	files, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		path := filepath.Join("docs", filepath.Base(file))
		texts[path] = read(t, path)
	}
	return texts
}

// sources returns the Go files below folders, tests or everything else.
func sources(t *testing.T, tests bool, folders ...string) string {
	t.Helper()
	var all strings.Builder
	for _, folder := range folders {
		err := filepath.WalkDir(filepath.Join(root, folder), func(path string, entry fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") != tests {
				return err
			}
			text, err := os.ReadFile(path)
			all.Write(text)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return all.String()
}

// find returns the first group of every match, sorted, each once.
func find(pattern, text string) []string {
	var found []string
	for _, match := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
		found = append(found, match[1])
	}
	slices.Sort(found)
	return slices.Compact(found)
}

func TestLinksLeadSomewhere(t *testing.T) {
	texts := documents(t)
	for path, text := range texts {
		links := append(find(`\]\(([^)\s]+)\)`, text), find(`(?:src|srcset)="([^"]+)"`, text)...)
		for _, link := range links {
			if strings.Contains(link, "://") {
				continue
			}
			file, anchor, _ := strings.Cut(link, "#")
			target := path
			if file != "" {
				target = filepath.Join(filepath.Dir(path), file)
			}
			if _, err := os.Stat(filepath.Join(root, target)); err != nil {
				t.Errorf("%s links to %s: %v", path, link, err)
			} else if anchor != "" && !slices.Contains(anchors(texts[target]), anchor) {
				t.Errorf("%s links to %s: there is no such heading", path, link)
			}
		}
	}
}

// anchors are the names that GitHub gives to headings.
func anchors(text string) []string {
	var names []string
	for _, heading := range find(`(?m)^#+ (.*)$`, text) {
		name := strings.ReplaceAll(strings.ToLower(heading), " ", "-")
		names = append(names, regexp.MustCompile(`[^\p{L}\p{N}_-]`).ReplaceAllString(name, ""))
	}
	return names
}

func TestNamedTestsExist(t *testing.T) {
	exist := find(`(?m)^func ((?:Test|Fuzz|Benchmark)\w+)\(`, sources(t, true, "."))
	for path, text := range documents(t) {
		for _, name := range find("`((?:Test|Fuzz|Benchmark)[A-Z]\\w*)`", text) {
			if !slices.Contains(exist, name) {
				t.Errorf("%s names %s, which does not exist", path, name)
			}
		}
	}
}

func TestEveryVariableIsDocumented(t *testing.T) {
	table := read(t, "docs/configuration.md")
	var named []string
	for line := range strings.Lines(table) {
		if cells := strings.Split(line, "|"); len(cells) > 2 {
			named = append(named, find("`([A-Z_]+)`", cells[1])...)
		}
	}
	used := find(`\be(?:nv)?\.\w+\("([A-Z_]+)"`, sources(t, false, "client", "comments", "event-bus", "internal/service", "moderation", "posts", "query"))
	for _, name := range used {
		if !slices.Contains(named, name) {
			t.Errorf("a service reads %s, and docs/configuration.md does not name it", name)
		}
	}
	for _, name := range named {
		if !slices.Contains(used, name) {
			t.Errorf("docs/configuration.md names %s, and no service reads it", name)
		}
	}
}

// TestMessagesAreTheOnesThatAreLogged looks for what the operations document
// explains in the programs; "…" stands for what differs.
func TestMessagesAreTheOnesThatAreLogged(t *testing.T) {
	const shortest = 15 // of what can be looked for
	_, table, found := strings.Cut(read(t, "docs/operations.md"), "\n## What each message means\n")
	if !found {
		t.Fatal("docs/operations.md does not explain the messages")
	}
	programs := sources(t, false, "client", "comments", "event-bus", "internal", "moderation", "posts", "query")
	checked := 0
	for line := range strings.Lines(table) {
		cells := strings.Split(line, "|")
		if len(cells) < 4 {
			continue
		}
		for _, message := range find("`([^`]+)`", cells[1]) {
			for part := range strings.SplitSeq(message, "…") {
				if part = strings.Trim(part, `" `); len(part) < shortest {
					continue
				}
				checked++
				if !strings.Contains(programs, part) {
					t.Errorf("docs/operations.md explains %q, which no program says", part)
				}
			}
		}
	}
	if checked == 0 {
		t.Error("no message was found to check")
	}
}
