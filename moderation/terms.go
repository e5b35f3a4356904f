package main

import (
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"
	"unicode"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"

	"miniblog/internal/event"
)

// defaultTerms are blocked where no file says otherwise.
var defaultTerms = []string{"orange"}

// checkEvery is how often the file of terms is asked whether it has changed.
const checkEvery = time.Second

// terms are what a comment must not contain. A file of them is read again when
// it changes, as a ConfigMap's does; while it cannot be read, the terms stay.
type terms struct {
	path string // "" for the default terms

	mu      sync.Mutex
	folded  []string
	checked time.Time
	version version
	broken  bool // the file could not be read last time, and that was logged
}

// version tells one content of the file from another without reading it.
type version struct {
	modified time.Time
	size     int64
}

func openTerms(path string) (*terms, error) {
	t := &terms{path: path, checked: time.Now()}
	if path == "" {
		t.folded = foldAll(defaultTerms)
		return t, nil
	}
	if err := t.read(); err != nil {
		return nil, fmt.Errorf("BLOCKED_TERMS_FILE=%q: cannot read the terms (%w); name a text file with one term a line", path, err)
	}
	return t, nil
}

// decide rejects a comment that contains a blocked term, or that has no
// content.
func (t *terms) decide(content string) event.Status {
	text := fold(content)
	if text == "" {
		return event.Rejected
	}
	for _, term := range t.current() {
		if strings.Contains(text, term) {
			return event.Rejected
		}
	}
	return event.Approved
}

// current returns the folded terms, of the file as it was a moment ago.
func (t *terms) current() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.path != "" && time.Since(t.checked) >= checkEvery {
		t.checked = time.Now()
		err := t.read()
		if err != nil && !t.broken {
			slog.Warn("the blocked terms cannot be read again; those read before stay", "file", t.path, "error", err)
		}
		t.broken = err != nil
	}
	return t.folded
}

// read reads the file if it has changed. The caller holds mu, or is the only
// one to know t.
func (t *terms) read() error {
	info, err := os.Stat(t.path)
	if err != nil {
		return err
	}
	found := version{info.ModTime(), info.Size()}
	if found == t.version {
		return nil
	}
	text, err := os.ReadFile(t.path)
	if err != nil {
		return err
	}
	var list []string
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			list = append(list, line)
		}
	}
	t.folded, t.version = foldAll(list), found
	slog.Info("blocked terms read", "file", t.path, "terms", len(t.folded))
	return nil
}

func foldAll(list []string) (folded []string) {
	for _, term := range list {
		if term = fold(term); term != "" { // an empty one would be in every comment
			folded = append(folded, term)
		}
	}
	return folded
}

// fold brings text into the form in which it is compared, so that case, width
// and characters that cannot be seen hide nothing: NFKC and case folding as
// Unicode has them for caseless matching (chapter 3, D146), without what a
// reader does not see.
func fold(text string) string {
	text = strings.Map(visible, norm.NFKC.String(text))
	text = cases.Fold().String(norm.NFD.String(text))
	text = norm.NFKC.String(cases.Fold().String(norm.NFKD.String(text)))
	return strings.TrimSpace(strings.Map(visible, text))
}

// visible drops the characters that are not shown: controls other than white
// space, and what Unicode calls default-ignorable.
func visible(r rune) rune {
	if unicode.IsSpace(r) {
		return r
	}
	if unicode.In(r, unicode.Cf, unicode.Cc, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector) {
		return -1
	}
	return r
}
