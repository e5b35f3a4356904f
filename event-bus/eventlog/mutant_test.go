package eventlog

import (
	"errors"
	"hash/crc32"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"miniblog/internal/disk"
	"miniblog/internal/disk/crashdisk"
)

// mutant is a folder under which the log does something wrong: it stands for
// the same mistake in the log. A nil function does what is right.
type mutant struct {
	disk.Folder
	syncDir  func(*mutant) error
	sync     func(*mutantFile) error
	truncate func(*mutantFile, int64) error
	forget   func() error
	write    func(*mutantFile) // before a write

	dirSyncs int32 // atomic: the writer and the sealer sync
}

type mutantFile struct {
	disk.File
	mutant *mutant
	name   string
	opened bool // and not created
	syncs  int
}

func (m *mutant) Create(name string) (disk.File, error) {
	f, err := m.Folder.Create(name)
	return &mutantFile{File: f, mutant: m, name: name}, err
}

func (m *mutant) Open(name string) (disk.File, error) {
	f, err := m.Folder.Open(name)
	return &mutantFile{File: f, mutant: m, name: name, opened: true}, err
}

func (m *mutant) SyncDir() error {
	if m.syncDir != nil {
		return m.syncDir(m)
	}
	return m.Folder.SyncDir()
}

func (f *mutantFile) Sync() error {
	f.syncs++
	if f.mutant.sync != nil {
		return f.mutant.sync(f)
	}
	return f.File.Sync()
}

func (f *mutantFile) Truncate(size int64) error {
	if f.mutant.truncate != nil {
		return f.mutant.truncate(f, size)
	}
	return f.File.Truncate(size)
}

func (f *mutantFile) Forget() error {
	if f.mutant.forget != nil {
		return f.mutant.forget()
	}
	return f.File.Forget()
}

func (f *mutantFile) WriteAt(b []byte, offset int64) (int, error) {
	if f.mutant.write != nil {
		f.mutant.write(f)
	}
	return f.File.WriteAt(b, offset)
}

// TestEveryMistakeIsCaught makes mistakes in the log, one at a time: a crash
// test that passes all the same shows nothing.
func TestEveryMistakeIsCaught(t *testing.T) {
	for name, m := range map[string]mutant{
		"fsync is left out": {sync: unless((*mutantFile).isActive)},
		"the directory's sync is left out": {syncDir: func(m *mutant) error {
			if atomic.AddInt32(&m.dirSyncs, 1) > 1 { // the first is for the log's id
				return nil
			}
			return m.Folder.SyncDir()
		}},
		"the answer comes before the fsync": {
			sync: unless((*mutantFile).isActive),
			write: func(f *mutantFile) { // it comes before the next write
				if f.syncs > 0 && f.isActive() {
					f.File.Sync()
				}
			},
		},
		"a torn tail is kept":                 {truncate: func(*mutantFile, int64) error { return nil }},
		"a torn tail is cut a byte too early": {truncate: func(f *mutantFile, n int64) error { return f.File.Truncate(max(0, n-1)) }},
		"a torn tail is cut a byte too late":  {truncate: func(f *mutantFile, n int64) error { return f.File.Truncate(n + 1) }},
		"a segment is sealed without a sync":  {sync: unless((*mutantFile).isSealed)},
		"recovery shows what it has not synced": {sync: unless(func(f *mutantFile) bool {
			return f.opened && f.syncs == 1
		})},
		"recovery believes what a failed sync left": {forget: func() error { return nil }},
		"a failed sync is tried again": {sync: func(f *mutantFile) error {
			if f.File.Sync() == nil {
				return nil
			}
			return f.File.Sync()
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			mustBeCaught(t, func(fsys disk.Folder) disk.Folder {
				m := m
				m.Folder = fsys
				return &m
			})
		})
	}
}

func (f *mutantFile) isActive() bool { return strings.Contains(f.name, activeSuffix) }

func (f *mutantFile) isSealed() bool { return strings.Contains(f.name, sealedSuffix) && !f.isActive() }

// unless leaves some syncs out.
func unless(out func(*mutantFile) bool) func(*mutantFile) error {
	return func(f *mutantFile) error {
		if out(f) {
			return nil
		}
		return f.File.Sync()
	}
}

func TestIgnoredChecksumsAreCaught(t *testing.T) {
	right := castagnoli
	defer func() { castagnoli = right }()
	castagnoli = new(crc32.Table) // with it everything has the same checksum
	mustBeCaught(t, honest)
}

// mustBeCaught runs the crash tests until one fails.
func mustBeCaught(t *testing.T, mutate func(disk.Folder) disk.Folder) {
	t.Helper()
	c := newCrasher(newRandom(t))
	c.mutate = mutate
	for range 20 {
		for fails := range int64(10) {
			var syncs atomic.Int64
			err := runFailing(func(op crashdisk.Op) *crashdisk.Fault {
				if op.Kind == "sync" && syncs.Add(1) == fails+1 {
					return &crashdisk.Fault{Err: syscall.EIO, Visible: true}
				}
				return nil
			}, c)
			if err != nil {
				said(t, err, c.states)
				return
			}
		}
		for _, wl := range workloads {
			if wl.large {
				continue
			}
			trace, err := wl.record(mutate)
			if err == nil {
				err = c.crash(trace, &promise{}, 0, nil)
			}
			if err != nil {
				said(t, err, c.states)
				return
			}
		}
		c.ways[0] *= 2
	}
	t.Errorf("nothing was noticed on %d disks", c.states)
}

func said(t *testing.T, err error, states int) {
	for errors.Unwrap(err) != nil {
		err = errors.Unwrap(err)
	}
	text := err.Error()
	t.Logf("noticed on disk %d: %.200s", states, text[strings.LastIndex(text, "\n")+1:])
}
