package crashdisk

import (
	"errors"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"

	"miniblog/internal/disk"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func create(t *testing.T, d *Disk, name, text string) disk.File {
	t.Helper()
	f, err := d.Create(name)
	must(t, err)
	write(t, f, text, 0)
	return f
}

func write(t *testing.T, f disk.File, text string, offset int64) {
	t.Helper()
	if n, err := f.WriteAt([]byte(text), offset); n != len(text) || err != nil {
		t.Fatal(n, err)
	}
}

// left returns what crashes at the end of d's trace leave: for each state its
// files, as text. With a limit it is a random choice.
func left(d *Disk) map[string]bool {
	all := map[string]bool{}
	trace := d.Trace()
	for _, way := range trace[len(trace)-1].Crashes(1e6, rand.New(rand.NewPCG(1, 2))) {
		if way.killed {
			continue
		}
		var text []string
		files := way.Disk().Files()
		for _, name := range slices.Sorted(maps.Keys(files)) {
			text = append(text, name+"="+string(files[name]))
		}
		all[strings.Join(text, " ")] = true
	}
	return all
}

func mustLeave(t *testing.T, d *Disk, want ...string) {
	t.Helper()
	got := slices.Sorted(maps.Keys(left(d)))
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("crashes leave\n%q\nwant\n%q", got, want)
	}
}

func TestWhatWasSyncedIsThere(t *testing.T) {
	d := New()
	f := create(t, d, "a", "text")
	must(t, f.Sync())
	must(t, d.SyncDir())
	mustLeave(t, d, "a=text")
}

func TestNamesSurviveApartFromContents(t *testing.T) {
	d := New()
	f := create(t, d, "a", "x")
	must(t, f.Sync())
	mustLeave(t, d, "", "a=x")

	d = New()
	create(t, d, "a", "x")
	must(t, d.SyncDir())
	got := left(d)
	for _, want := range []string{"a=", "a=x", "a=\x00"} {
		if !got[want] {
			t.Errorf("no crash leaves %q: %v", want, got)
		}
	}
}

func TestWriteIsTornInEveryWay(t *testing.T) {
	d := New()
	f := create(t, d, "a", "0123")
	must(t, f.Sync())
	must(t, d.SyncDir())
	write(t, f, "abcd", 2)
	got := left(d)
	for what, want := range map[string]string{
		"nothing":                  "a=0123",
		"all of it":                "a=01abcd",
		"its beginning":            "a=01a3",
		"its beginning and zeroes": "a=01ab\x00\x00",
		"its length":               "a=01\x00\x00\x00\x00",
		"its end, behind the old":  "a=0123cd",
		"bytes that once were":     "a=01ab01",
	} {
		if !got[want] {
			t.Errorf("no crash leaves %s, %q", what, want)
		}
	}
	garbage := 0
	for text := range got {
		if !strings.HasPrefix(text, "a=01") {
			t.Errorf("a crash leaves %q: bytes that nobody wrote to are gone", text)
		}
		if strings.IndexFunc(text, func(r rune) bool { return !strings.ContainsRune("a=0123bcd\x00", r) }) >= 0 {
			garbage++
		}
	}
	if garbage == 0 {
		t.Error("no crash leaves garbage")
	}
}

func TestLargeWriteLosesSectorsInItsMiddle(t *testing.T) {
	d := New()
	f, err := d.Create("a")
	must(t, err)
	must(t, d.SyncDir())
	write(t, f, strings.Repeat("x", 3*sector), 0)
	if want := "a=" + strings.Repeat("x", sector) + strings.Repeat("\x00", sector) + strings.Repeat("x", sector); !left(d)[want] {
		t.Error("no crash leaves a hole of one sector")
	}
}

func TestEachSubsetOfWritesSurvives(t *testing.T) {
	d := New()
	f := create(t, d, "a", "...")
	must(t, f.Sync())
	must(t, d.SyncDir())
	for i := range 3 {
		write(t, f, "x", int64(i))
	}
	got := left(d)
	for _, want := range []string{"...", "x..", ".x.", "..x", "xx.", "x.x", ".xx", "xxx"} {
		if !got["a="+want] {
			t.Errorf("no crash leaves %s", want)
		}
	}
}

func TestRenameAndRemoveAreLostUnlessSynced(t *testing.T) {
	d := New()
	must(t, create(t, d, "a", "new").Sync())
	must(t, create(t, d, "b", "old").Sync())
	must(t, d.SyncDir())
	must(t, d.Rename("a", "b"))
	mustLeave(t, d, "a=new b=old", "b=new", "a=new b=new")
	must(t, d.SyncDir())
	mustLeave(t, d, "b=new")
	must(t, d.Remove("b"))
	mustLeave(t, d, "b=new", "")
}

func TestKillLosesNothingAndSyncsNothing(t *testing.T) {
	d := New()
	create(t, d, "a", "text")
	trace := d.Trace()
	for _, way := range trace[len(trace)-1].Crashes(1e6, rand.New(rand.NewPCG(1, 2))) {
		if !way.killed {
			continue
		}
		after := way.Disk()
		if text := after.Files()["a"]; string(text) != "text" {
			t.Errorf("after a kill the file is %q", text)
		}
		after.Note("killed")
		if !left(after)[""] {
			t.Error("after a kill a crash does not take back what was not synced")
		}
		return
	}
	t.Error("nobody is killed")
}

func TestFailedSyncDropsAndTheNextOneLies(t *testing.T) {
	for _, visible := range []bool{true, false} {
		d := New()
		f := create(t, d, "a", "old")
		must(t, f.Sync())
		must(t, d.SyncDir())
		write(t, f, "new", 0)
		d.Inject(func(op Op) *Fault { return &Fault{Err: syscall.EIO, Visible: visible} })
		if err := f.Sync(); !errors.Is(err, syscall.EIO) {
			t.Fatal(err)
		}
		d.Inject(nil)
		if seen := string(d.Files()["a"]); (seen == "new") != visible {
			t.Errorf("after a failed sync processes see %q", seen)
		}
		again, err := d.Open("a")
		must(t, err)
		must(t, again.Sync())
		mustLeave(t, d, "a=old")
		must(t, again.Forget())
		text := make([]byte, 3)
		if _, err := again.ReadAt(text, 0); err != nil || string(text) != "old" {
			t.Errorf("read from the disk itself it is %q, %v", text, err)
		}
		must(t, d.Broken())
		must(t, f.Sync())
		if d.Broken() == nil {
			t.Error("a descriptor was synced again after it had failed, and nobody noticed")
		}
	}
}

func TestShortWriteLeavesAPart(t *testing.T) {
	d := New()
	f := create(t, d, "a", "")
	d.Inject(func(op Op) *Fault { return &Fault{Err: syscall.ENOSPC, Done: 2} })
	if n, err := f.WriteAt([]byte("text"), 0); n != 2 || !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(n, err)
	}
	d.Inject(nil)
	b := make([]byte, 4)
	if n, err := f.ReadAt(b, 0); string(b[:n]) != "te" || err != io.EOF {
		t.Errorf("read %q, %v", b[:n], err)
	}
}

func TestReservedRoomIsThereAsFarAsItWasSynced(t *testing.T) {
	d := New()
	f := create(t, d, "a", "text")
	must(t, f.Sync())
	must(t, d.SyncDir())
	must(t, f.Reserve(1500))
	seen := map[int]bool{}
	for files := range left(d) {
		text, ok := strings.CutPrefix(files, "a=text")
		if !ok || strings.Trim(text, "\x00") != "" {
			t.Fatalf("a crash leaves %q", files)
		}
		seen[len("text")+len(text)] = true
	}
	if got, want := slices.Sorted(maps.Keys(seen)), []int{4, 512, 1024, 1500}; !slices.Equal(got, want) {
		t.Errorf("crashes leave files of %d bytes, want %d", got, want)
	}
	must(t, f.Sync())
	mustLeave(t, d, "a=text"+strings.Repeat("\x00", 1496))
}
