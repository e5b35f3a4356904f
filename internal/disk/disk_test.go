package disk_test

import (
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"miniblog/internal/disk"
	"miniblog/internal/disk/crashdisk"
)

// contents returns what the folder's files hold, by their names.
func contents(t *testing.T, d *crashdisk.Disk) map[string]string {
	t.Helper()
	files := map[string]string{}
	for name, b := range d.Files() {
		files[name] = string(b)
	}
	return files
}

// crashes calls check on what each crash at the points of a trace leaves. Done
// tells whether the point comes after what was noted as done.
func crashes(t *testing.T, d *crashdisk.Disk, check func(files map[string]string, done bool) error) {
	t.Helper()
	random := rand.New(rand.NewPCG(1, 2))
	done := false
	trace := d.Trace()
	for i, point := range trace {
		done = done || point.Note == "done"
		for _, way := range point.Crashes(1e6, random) {
			if err := check(contents(t, way.Disk()), done); err != nil {
				for _, e := range trace[:i+1] {
					t.Log(e.What)
				}
				t.Fatalf("%v; %v", way, err)
			}
		}
	}
	if !done {
		t.Fatal("nothing was done")
	}
}

func TestReplaceIsAllOrNothingAtAnyCrashPoint(t *testing.T) {
	d := crashdisk.New()
	if err := disk.Replace(d, "a", []byte("old contents")); err != nil {
		t.Fatal(err)
	}
	d = d.Copy()
	d.Note("begin")
	if err := disk.Replace(d, "a", []byte("new")); err != nil {
		t.Fatal(err)
	}
	d.Note("done")
	crashes(t, d, func(files map[string]string, done bool) error {
		if got := files["a"]; got != "new" && (done || got != "old contents") {
			return errors.New("the file holds " + got)
		}
		return nil
	})
}

func TestReplaceThatFailsSaysWhatItHasChanged(t *testing.T) {
	for kind, unchanged := range map[string]bool{"create": true, "write": true, "sync": true, "rename": false, "syncdir": false} {
		t.Run(kind, func(t *testing.T) {
			d := crashdisk.New()
			if err := disk.Replace(d, "a", []byte("old")); err != nil {
				t.Fatal(err)
			}
			d.Inject(func(op crashdisk.Op) *crashdisk.Fault {
				if op.Kind == kind {
					return &crashdisk.Fault{Err: syscall.ENOSPC}
				}
				return nil
			})
			err := disk.Replace(d, "a", []byte("new"))
			if !errors.Is(err, syscall.ENOSPC) || !disk.IsFull(err) {
				t.Errorf("the error is %v", err)
			}
			if errors.Is(err, disk.ErrUnchanged) != unchanged {
				t.Errorf("%v says that nothing was changed: %v, want %v", err, !unchanged, unchanged)
			}
			files := contents(t, d)
			if unchanged && files["a"] != "old" {
				t.Errorf("the file holds %q", files["a"])
			}
			if _, left := files["a"+disk.TempSuffix]; left && unchanged {
				t.Error("the file that was being made is still there")
			}
			if err := d.Broken(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestAppendLeavesWhatWasThereAtAnyCrashPoint(t *testing.T) {
	d := crashdisk.New()
	const first, second = "first\n", "second\n"
	if err := disk.Append(d, "a", []byte(first)); err != nil {
		t.Fatal(err)
	}
	crashes(t, noted(d), func(files map[string]string, done bool) error {
		if done && files["a"] != first {
			return errors.New("the new file holds " + files["a"])
		}
		return nil
	})
	d = d.Copy()
	if err := disk.Append(d, "a", []byte(second)); err != nil {
		t.Fatal(err)
	}
	crashes(t, noted(d), func(files map[string]string, done bool) error {
		got := files["a"]
		switch {
		case !strings.HasPrefix(got, first):
			return errors.New("what was there is gone: " + got)
		case len(got) > len(first+second):
			return errors.New("more is there than was appended: " + got)
		case done && got != first+second:
			return errors.New("what was appended is not there: " + got)
		}
		return nil
	})
}

// noted notes that what was to be done is done.
func noted(d *crashdisk.Disk) *crashdisk.Disk {
	d.Note("done")
	return d
}

// TestLockIsGivenBackByAProcessThatIsKilled runs itself as the other process.
func TestLockIsGivenBackByAProcessThatIsKilled(t *testing.T) {
	const variable = "LOCK_THIS_FOLDER"
	if dir := os.Getenv(variable); dir != "" {
		if _, err := disk.Lock(dir); err != nil {
			t.Fatal(err)
		}
		io.WriteString(os.Stdout, "locked\n")
		io.ReadAll(os.Stdin) // until it is killed
		return
	}
	dir := t.TempDir()
	other := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
	other.Env = append(os.Environ(), variable+"="+dir)
	out, err := other.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(out, make([]byte, len("locked\n"))); err != nil {
		t.Fatal(err)
	}
	if _, err := disk.Lock(dir); !errors.Is(err, disk.ErrLocked) || !strings.Contains(err.Error(), filepath.Join(dir, "lock")) {
		t.Errorf("a second owner is told %v", err)
	}
	other.Process.Kill()
	other.Wait()
	unlock, err := disk.Lock(dir)
	if err != nil {
		t.Fatalf("the lock of a process that was killed: %v", err)
	}
	if err := unlock(); err != nil {
		t.Fatal(err)
	}
	if unlock, err = disk.Lock(dir); err != nil {
		t.Fatalf("a lock that was given back: %v", err)
	}
	unlock()
}

func TestMakeDirMakesWhatIsMissing(t *testing.T) {
	dir := t.TempDir()
	deep := filepath.Join(dir, "a", "b")
	for range 2 {
		if err := disk.MakeDir(deep); err != nil {
			t.Fatal(err)
		}
	}
	if err := disk.Replace(disk.Dir(deep), "file", nil); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{filepath.Join(deep, "file"), filepath.Join(deep, "file", "below")} {
		if err := disk.MakeDir(path); !errors.Is(err, syscall.ENOTDIR) {
			t.Errorf("a folder in the place of a file: %v", err)
		}
	}
}

// A section of a real file is what the kernel can copy to a socket: an os.File
// within an io.LimitedReader, and nothing else.
func TestSectionOfARealFileIsCopiedByTheKernel(t *testing.T) {
	folder := disk.Dir(t.TempDir())
	if err := disk.Replace(folder, "a", []byte("0123456789")); err != nil {
		t.Fatal(err)
	}
	f, err := folder.Open("a")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	section, err := f.Section(3, 4)
	if err != nil {
		t.Fatal(err)
	}
	limited, ok := section.(*io.LimitedReader)
	if !ok {
		t.Fatalf("a section is a %T, which a socket reads through the program", section)
	}
	if _, ok := limited.R.(*os.File); !ok {
		t.Errorf("a section reads a %T, which a socket reads through the program", limited.R)
	}
	if b, err := io.ReadAll(section); err != nil || string(b) != "3456" {
		t.Errorf("the section holds %q, %v", b, err)
	}
}

func TestFoldersAreNotListed(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "subscribers"), 0o755); err != nil {
		t.Fatal(err)
	}
	names, err := disk.Dir(dir).List()
	if err != nil || !slices.Equal(names, nil) {
		t.Errorf("the folder lists %q, %v", names, err)
	}
}
