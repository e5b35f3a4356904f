package disk_test

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"slices"
	"testing"

	"miniblog/internal/disk"
	"miniblog/internal/disk/crashdisk"
)

// TestCrashDiskBehavesAsTheRealOne runs one suite on both: what the crash tests
// show on the one is worth nothing if the other differs.
func TestCrashDiskBehavesAsTheRealOne(t *testing.T) {
	for name, newFolder := range map[string]func(*testing.T) disk.Folder{
		"the file system of this machine": func(t *testing.T) disk.Folder { return disk.Dir(t.TempDir()) },
		"crashdisk":                       func(*testing.T) disk.Folder { return crashdisk.New() },
	} {
		t.Run(name, func(t *testing.T) {
			for promise, check := range contract {
				t.Run(promise, func(t *testing.T) { check(t, contractFolder{t, newFolder(t)}) })
			}
		})
	}
}

var contract = map[string]func(*testing.T, contractFolder){
	"an empty folder lists nothing": func(t *testing.T, d contractFolder) {
		d.mustList()
	},
	"a file that is created is listed, empty and readable": func(t *testing.T, d contractFolder) {
		d.must(d.create("a").Sync())
		d.mustList("a")
		d.mustHold("a", "")
	},
	"creating a file that exists empties it": func(t *testing.T, d contractFolder) {
		d.write("a", "text")
		d.create("a")
		d.mustHold("a", "")
	},
	"opening, renaming and removing what is not there says so": func(t *testing.T, d contractFolder) {
		_, err := d.Open("a")
		for _, err := range []error{err, d.Rename("a", "b"), d.Remove("a")} {
			if !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("got %v, want not exist", err)
			}
		}
	},
	"what is written is read, through every descriptor": func(t *testing.T, d contractFolder) {
		a := d.write("a", "0123456789")
		b := d.open("a")
		d.mustRead(b, 3, 4, "3456", nil)
		if _, err := a.WriteAt([]byte("xy"), 4); err != nil {
			t.Fatal(err)
		}
		d.mustRead(b, 3, 4, "3xy6", nil)
	},
	"reading beyond the end is EOF with what there is": func(t *testing.T, d contractFolder) {
		f := d.write("a", "0123")
		d.mustRead(f, 2, 5, "23", io.EOF)
		d.mustRead(f, 4, 1, "", io.EOF)
		d.mustRead(f, 40, 1, "", io.EOF)
	},
	"a section is what lies there, to the end at most": func(t *testing.T, d contractFolder) {
		f := d.write("a", "0123456789")
		for _, c := range []struct {
			offset, size int64
			want         string
		}{{3, 4, "3456"}, {0, 1, "0"}, {8, 5, "89"}, {10, 5, ""}, {40, 5, ""}, {2, 0, ""}} {
			section, err := f.Section(c.offset, c.size)
			d.must(err)
			b, err := io.ReadAll(section)
			if string(b) != c.want || err != nil {
				t.Errorf("%d bytes at %d are %q, %v; want %q", c.size, c.offset, b, err, c.want)
			}
		}
		d.mustRead(f, 2, 3, "234", nil)
	},
	"a write beyond the end leaves zeroes before it": func(t *testing.T, d contractFolder) {
		f := d.write("a", "0")
		if _, err := f.WriteAt([]byte("5"), 5); err != nil {
			t.Fatal(err)
		}
		d.mustHold("a", "0\x00\x00\x00\x005")
	},
	"truncating cuts off and fills up with zeroes": func(t *testing.T, d contractFolder) {
		f := d.write("a", "0123456789")
		d.must(f.Truncate(3))
		d.mustHold("a", "012")
		d.must(f.Truncate(5))
		d.mustHold("a", "012\x00\x00")
	},
	"room that is reserved is zeroes, and takes nothing away": func(t *testing.T, d contractFolder) {
		f := d.write("a", "0123")
		d.must(f.Reserve(8))
		d.mustHold("a", "0123\x00\x00\x00\x00")
		if _, err := f.WriteAt([]byte("45"), 4); err != nil {
			t.Fatal(err)
		}
		d.must(f.Reserve(5))
		d.must(f.Sync())
		d.mustHold("a", "012345\x00\x00")
		d.must(f.Truncate(6))
		d.mustHold("a", "012345")
	},
	"a rename replaces, and open descriptors stay with their file": func(t *testing.T, d contractFolder) {
		old := d.write("old", "old")
		moved := d.write("new", "new")
		d.must(d.Rename("new", "old"))
		d.mustList("old")
		d.mustHold("old", "new")
		d.mustRead(old, 0, 3, "old", nil)
		if _, err := moved.WriteAt([]byte("N"), 0); err != nil {
			t.Fatal(err)
		}
		d.must(moved.Sync())
		d.mustHold("old", "New")
	},
	"a removed file can be read by who has it open": func(t *testing.T, d contractFolder) {
		f := d.write("a", "text")
		d.must(d.Remove("a"))
		d.mustList()
		d.mustRead(f, 0, 4, "text", nil)
		d.must(f.Sync())
	},
	"a name that was removed is given anew to an empty file": func(t *testing.T, d contractFolder) {
		old := d.write("a", "text")
		d.must(d.Remove("a"))
		d.create("a")
		d.mustHold("a", "")
		d.mustRead(old, 0, 4, "text", nil)
	},
	"syncing and forgetting change nothing": func(t *testing.T, d contractFolder) {
		f := d.write("a", "text")
		d.must(f.Sync())
		d.must(disk.SyncAside(f))
		d.must(f.Forget())
		d.must(d.SyncDir())
		d.mustHold("a", "text")
		if _, err := f.WriteAt([]byte("T"), 0); err != nil {
			t.Fatal(err)
		}
		d.must(f.Forget()) // of what is not synced
		d.mustHold("a", "Text")
	},
	"a closed file refuses everything": func(t *testing.T, d contractFolder) {
		f := d.write("a", "text")
		d.must(f.Close())
		_, read := f.ReadAt(make([]byte, 1), 0)
		_, written := f.WriteAt([]byte("x"), 0)
		_, size := f.Size()
		for i, err := range []error{read, written, size, f.Truncate(1), f.Close()} {
			if !errors.Is(err, fs.ErrClosed) {
				t.Errorf("operation %d on a closed file: %v", i, err)
			}
		}
		if f.Sync() == nil || disk.SyncAside(f) == nil {
			t.Error("a closed file was synced")
		}
		d.mustHold("a", "text")
	},
	"what the caller does with its bytes afterwards changes nothing": func(t *testing.T, d contractFolder) {
		text := []byte("text")
		f := d.create("a")
		if n, err := f.WriteAt(text, 0); n != 4 || err != nil {
			t.Fatal(n, err)
		}
		text[0] = 'X'
		read := make([]byte, 4)
		if _, err := f.ReadAt(read, 0); err != nil {
			t.Fatal(err)
		}
		read[1] = 'X'
		d.mustHold("a", "text")
	},
	"any sequence of writes and truncates comes to the same": func(t *testing.T, d contractFolder) {
		random := rand.New(rand.NewPCG(1, 2)) // the same on both
		f := d.create("a")
		var want []byte
		for range 500 {
			at, n := random.IntN(3000), random.IntN(600)
			if random.IntN(4) == 0 {
				d.must(f.Truncate(int64(at)))
				want = append(want[:min(at, len(want))], make([]byte, max(0, at-len(want)))...)
				continue
			}
			data := bytes.Repeat([]byte{byte(random.Uint32())}, n)
			if _, err := f.WriteAt(data, int64(at)); err != nil {
				t.Fatal(err)
			}
			if end := at + n; n > 0 && end > len(want) {
				want = append(want, make([]byte, end-len(want))...)
			}
			copy(want[min(at, len(want)):], data)
		}
		d.mustHold("a", string(want))
	},
}

// contractFolder is a folder whose operations must work.
type contractFolder struct {
	t *testing.T
	disk.Folder
}

func (d contractFolder) must(err error) {
	d.t.Helper()
	if err != nil {
		d.t.Fatal(err)
	}
}

func (d contractFolder) create(name string) disk.File {
	d.t.Helper()
	f, err := d.Create(name)
	d.must(err)
	d.t.Cleanup(func() { f.Close() })
	return f
}

func (d contractFolder) open(name string) disk.File {
	d.t.Helper()
	f, err := d.Open(name)
	d.must(err)
	d.t.Cleanup(func() { f.Close() })
	return f
}

func (d contractFolder) write(name, text string) disk.File {
	d.t.Helper()
	f := d.create(name)
	n, err := f.WriteAt([]byte(text), 0)
	if n != len(text) || err != nil {
		d.t.Fatalf("wrote %d of %d bytes: %v", n, len(text), err)
	}
	return f
}

func (d contractFolder) mustList(want ...string) {
	d.t.Helper()
	names, err := d.List()
	d.must(err)
	slices.Sort(names)
	if !slices.Equal(names, want) {
		d.t.Fatalf("the folder lists %q, want %q", names, want)
	}
}

func (d contractFolder) mustHold(name, want string) {
	d.t.Helper()
	f := d.open(name)
	size, err := f.Size()
	d.must(err)
	if size != int64(len(want)) {
		d.t.Fatalf("%s has %d bytes, want %d", name, size, len(want))
	}
	d.mustRead(f, 0, len(want), want, nil)
}

func (d contractFolder) mustRead(f disk.File, offset int64, n int, want string, end error) {
	d.t.Helper()
	b := make([]byte, n)
	read, err := f.ReadAt(b, offset)
	if string(b[:read]) != want || err != end {
		d.t.Fatalf("reading %d bytes at %d gives %q, %v; want %q, %v", n, offset, b[:read], err, want, end)
	}
}
