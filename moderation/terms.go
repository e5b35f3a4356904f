package main

import (
	"bytes"
	"crypto/sha256"
	"errors"
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
// its content changes, as a ConfigMap's does. Whoever replaces it may be in the
// middle of that: a new content counts once it was found twice, checkEvery
// apart, and an empty one never does. While the file cannot be read the terms
// stay. To block nothing, the file may hold a comment alone.
type terms struct {
	path string // "" for the default terms

	mu       sync.Mutex
	folded   []string
	checked  time.Time
	current  content // that folded are from
	seen     content // at the last check
	troubled bool    // the file was of no use at the last check, and that was logged
}

// content tells one text of the file from another.
type content [sha256.Size]byte

func openTerms(path string) (*terms, error) {
	t := &terms{path: path, checked: time.Now()}
	if path == "" {
		t.folded = foldAll(defaultTerms)
		return t, nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("BLOCKED_TERMS_FILE=%q: cannot read the terms (%w); name a text file with one term a line", path, err)
	}
	t.take(text)
	return t, nil
}

// decide rejects a comment that contains a blocked term, as it is stored or as
// it is shown, or that has no content.
func (t *terms) decide(content string) event.Status {
	stored, shown := fold(content), ""
	if stored == "" {
		return event.Rejected
	}
	if text := asShown(content); text != content {
		shown = fold(text)
	}
	for _, term := range t.now() {
		if strings.Contains(stored, term) || strings.Contains(shown, term) {
			return event.Rejected
		}
	}
	return event.Approved
}

// now returns the folded terms, of the file as it was a moment ago.
func (t *terms) now() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.path != "" && time.Since(t.checked) >= checkEvery {
		t.checked = time.Now()
		t.checkLocked()
	}
	return t.folded
}

var errEmpty = errors.New("it is empty; if nothing is to be blocked, leave a line that starts with # in it")

func (t *terms) checkLocked() {
	text, err := os.ReadFile(t.path)
	if err == nil && len(bytes.TrimSpace(text)) == 0 {
		err = errEmpty
	}
	if err != nil && !t.troubled {
		slog.Warn("the blocked terms cannot be read again; those read before stay", "file", t.path, "error", err)
	}
	if t.troubled = err != nil; t.troubled {
		t.seen = content{}
		return
	}
	before := t.seen
	if t.seen = sha256.Sum256(text); t.seen == before && t.seen != t.current {
		t.take(text)
	}
}

// take makes text the terms. The caller holds mu, or is the only one to know t.
func (t *terms) take(text []byte) {
	var list []string
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			list = append(list, line)
		}
	}
	t.folded, t.current = foldAll(list), sha256.Sum256(text)
	slog.Info("blocked terms read", "file", t.path, "terms", len(t.folded))
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

// visible drops the characters that are not shown, so that a word goes on
// behind them: controls, what Unicode calls default-ignorable, and white space
// and stand-ins that browsers give no room (a form feed, a carriage return, a
// line or paragraph separator, an object replacement character).
func visible(r rune) rune {
	switch r {
	case ' ', '\t', '\n':
		return r
	case '\u2028', '\u2029', '\ufffc', '\u0085':
		return -1
	}
	if unicode.In(r, unicode.Cf, unicode.Cc, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector) {
		return -1
	}
	return r
}
