package eventlog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// sourceMutant is a mistake in the log's own text: in the file the old text is
// there once, and becomes the new one.
type sourceMutant struct{ name, file, old, new string }

var sourceMutants = []sourceMutant{
	{"fsync is left out", "store.go", "syncFile := active.file.Sync\n", "syncFile := func() error { return nil }\n"},
	{"the answer comes before the fsync", "store.go", "err = syncFile()", "go syncFile()"},
	{"it goes on after a failed sync", "store.go", "\t\tl.refuse(err)\n\t}\n\treturn err\n", "\t}\n\treturn err\n"},
	{"a full disk leaves a part of a batch", "store.go", "active.trim(); err == nil", "error(nil); err == nil"},
	{"a segment that is full keeps its room", "store.go", "err := full.trim()", "var err error"},
	{"a log that is closed keeps its room", "write.go", "l.activeLocked().trim() // so", "_ = 0 // so"},
	{"room is made and not written down", "store.go", "*all = appendRoom(*all, left)", "_ = left"},
	{"room begins within its own header", "store.go", "end+roomHeader <= s.end", "end <= s.end"},
	{"room is longer than the file", "store.go", "s.file.Reserve(end + roomHeader + room)", "s.file.Reserve(end + room)"},
	{"a full disk leaves less than the log thinks", "store.go", "\tif err == nil {\n\t\ts.end = s.size\n\t}\n", ""},
	{"an unwritten end is taken for torn", "recovery.go", "room || err != nil {", "room && false || err != nil {"},
	{"a torn end is taken for unwritten", "segment.go", " || written > s.size+roomHeader", ""},
	{"what is unwritten is not compared", "segment.go", "return bytes.Equal(header[:], appendRoom(nil, size-s.size)), err", "return true, err"},
	{"a segment begins with the wrong event", "store.go", "createActive(l.folder, l.durable+1)", "createActive(l.folder, l.durable+2)"},
	{"a cut is not durable when the next segment begins", "store.go", "\t\terr = full.file.Sync()\n", "\t\terr = nil\n"},
	{"an id is stored twice in a group", "store.go", "l.ids.add(r.keys[i], sequence)", "defer l.ids.add(r.keys[i], sequence)"},
	{"an id that was not stored is remembered", "write.go", "\t\tl.ids.forget(r.keys, g.first)\n", "\t\t_ = r\n"},
	{"a group follows one that was not stored", "write.go", "\tl.given = min(l.given, g.first-1)\n", ""},
	{"a group that was not stored leaves what it was given to the next", "write.go", "\tif !l.settle() {", "\tif l.settle(); false {"},
	{"ids make room while a group may be taken back", "write.go", "\tif l.ids.full() {\n\t\tl.settle()\n\t}\n\tif l.unsettled == nil {\n", "\tif true {\n"},
	{"two groups are stored at once", "write.go", "\tl.storing.Wait()\n", ""},
	{"a batch says that what is stored with it was durable", "store.go", "d.putHeader(event.Sequence(l.synced.Load()))", "d.putHeader(d.last())"},
	{"a name is not synced", "../../internal/disk/disk.go", "\tif synced := syncDir(); err == nil {\n", "\tif synced := error(nil); err == nil && syncDir != nil {\n"},
	{"a file is made without a sync", "../../internal/disk/disk.go", "if err = write(f); err == nil {\n\t\terr = f.Sync()\n\t}", "err = write(f)"},
	{"recovery does not sync what it shows", "recovery.go", "err := s.file.Sync(); err != nil", "err := error(nil); err != nil"},
	{"recovery believes the kernel's memory", "recovery.go", "err := s.file.Forget(); err != nil", "err := error(nil); err != nil"},
	{"recovery does not sync names", "recovery.go", "return r, folder.SyncDir()", "return r, nil"},
	{"a torn tail is kept", "recovery.go", "s.trim()", "s.file.Truncate(size)"},
	{"a torn tail is cut at the wrong place", "recovery.go", "s.trim()", "s.file.Truncate(s.size/2)"},
	{"a torn tail is taken for whole", "recovery.go", "\tr.torn = written - s.size\n", "\tr.torn = written - s.size\n\ts.size = size\n"},
	{"damage is cut off", "recovery.go", "if durable > s.last {", "if durable > s.last && false {"},
	{"a torn tail is damage", "recovery.go", "if durable > s.last {", "if durable > s.last || true {"},
	{"any active segment is cut", "recovery.go", "if i == len(inOrder)-1 {", "if i >= 0 {"},
	{"a sealed form without a durable name counts", "recovery.go", "active[first] = active[first] || !sealed", "active[first] = !sealed && (active[first] || !slices.Contains(names, sealedName(first)))"},
	{"a gap is passed over", "recovery.go", "if s.first != next {", "if s.first != next && false {"},
	{"an empty segment's name is believed", "recovery.go", "r.segments[n-1].last >= first {", "true {"},
	{"an id's name is believed", "recovery.go", " || !slices.ContainsFunc(names, isSegment)", ""},
	{"the newest segment may be missing", "recovery.go", "n > 0 && r.segments[n-1].sealed {", "n < 0 {"},
	{"the checksum of data is ignored", "segment.go", "if sum.Sum32() != b.dataCRC {", "if false {"},
	{"a batch may stand anywhere", "segment.go", "b.first != s.last+1 || ", ""},
	{"the checksum of a header is ignored", "format.go", " ||\n\t\tle.Uint32(h[44:]) != crc32.Checksum(h[:44], castagnoli)", ""},
	{"the checksum of an index is ignored", "format.go", " ||\n\t\tle.Uint32(b[len(b)-8:]) != crc32.Checksum(b[:len(b)-8], castagnoli)", ""},
	{"a segment is removed before it is sealed", "seal.go", "sealed, err := l.rewrite(ctx, s)", "l.folder.Remove(s.name)\n\tsealed, err := l.rewrite(ctx, s)"},
}

// mutated returns the text of the mutant's file with its mistake.
func (m sourceMutant) mutated() ([]byte, error) {
	source, err := os.ReadFile(m.file)
	if err != nil {
		return nil, err
	}
	if n := strings.Count(string(source), m.old); n != 1 {
		return nil, fmt.Errorf("%s has %d times, not once, what is to be changed: %q", m.file, n, m.old)
	}
	return []byte(strings.Replace(string(source), m.old, m.new, 1)), nil
}

// TestMistakesFitTheSource: a mistake that cannot be made any more would go
// unnoticed until somebody runs the next test.
func TestMistakesFitTheSource(t *testing.T) {
	for _, m := range sourceMutants {
		if _, err := m.mutated(); err != nil {
			t.Errorf("%s: %v", m.name, err)
		}
	}
}

// TestEveryMistakeInTheSourceIsCaught makes mistakes in a copy of the source and
// runs the tests on it.
func TestEveryMistakeInTheSourceIsCaught(t *testing.T) {
	if !*exhaustive {
		t.Skip("NOT CHECKED without -exhaustive: it takes a minute for each five mistakes")
	}
	for _, m := range sourceMutants {
		t.Run(m.name, func(t *testing.T) {
			text, err := m.mutated()
			if err != nil {
				t.Fatal(err)
			}
			path, err := filepath.Abs(m.file)
			if err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			changed, overlay := filepath.Join(dir, filepath.Base(m.file)), filepath.Join(dir, "overlay")
			replace, err := json.Marshal(map[string]map[string]string{"Replace": {path: changed}})
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(os.WriteFile(changed, text, 0o644), os.WriteFile(overlay, replace, 0o644)); err != nil {
				t.Fatal(err)
			}
			mustFailWith(t, overlay)
		})
	}
}

// mustFailWith runs the package's tests on changed source until one fails.
func mustFailWith(t *testing.T, overlay string) {
	t.Helper()
	for range 5 {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		defer cancel()
		said, err := exec.CommandContext(ctx, "go", "test", "-count=1", "-failfast", "-overlay", overlay, "-skip", "Mistake|Ignored", ".").CombinedOutput()
		if err == nil {
			continue
		}
		if strings.Contains(string(said), "[build failed]") {
			t.Fatalf("the changed source does not compile:\n%s", said)
		}
		lines := strings.Split(string(said), "\n")
		for _, line := range lines {
			if strings.Contains(line, "NOT KEPT") || strings.Contains(line, "--- FAIL") {
				t.Logf("%.200s", strings.TrimSpace(line))
			}
		}
		return
	}
	t.Error("nothing was noticed")
}
