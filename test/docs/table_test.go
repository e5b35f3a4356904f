package docs

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"miniblog/test/harness"
)

var (
	heldBy   = regexp.MustCompile("`(Test\\w+)`")
	testFunc = regexp.MustCompile(`(?m)^func (Test\w+)\(`)
)

// TestEachLineOfWhoCanDoWhatIsHeldByATest looks for the tests that the table in
// docs/operations.md names.
func TestEachLineOfWhoCanDoWhatIsHeldByATest(t *testing.T) {
	root := harness.Must(harness.Root())(t)
	text := harness.Must(os.ReadFile(filepath.Join(root, "docs", "operations.md")))(t)
	_, table, _ := strings.Cut(string(text), "## Who can do what")
	table, _, _ = strings.Cut(table, "\n## ")
	there := map[string]bool{}
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		source, err := os.ReadFile(path)
		for _, match := range testFunc.FindAllSubmatch(source, -1) {
			there[string(match[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	lines := 0
	for line := range strings.Lines(table) {
		if !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| who |") {
			continue
		}
		lines++
		tests := heldBy.FindAllStringSubmatch(line, -1)
		if len(tests) == 0 {
			t.Errorf("no test holds the line %s", line)
		}
		for _, test := range tests {
			if !there[test[1]] {
				t.Errorf("there is no %s, which should hold the line %s", test[1], line)
			}
		}
	}
	if lines < 15 {
		t.Errorf("the table has %d lines", lines)
	}
}
