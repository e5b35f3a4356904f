package projection_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"miniblog/internal/bus/bustest"
)

func TestLostDatabaseIsBuiltAgain(t *testing.T) {
	tests := map[string]func(t *testing.T, dir string){
		"deleted": func(t *testing.T, dir string) {
			for _, name := range []string{"projection.db", "projection.db-wal", "projection.db-shm"} {
				os.Remove(filepath.Join(dir, name))
			}
		},
		"deleted, but not its write-ahead log": func(t *testing.T, dir string) {
			write(t, filepath.Join(dir, "projection.db-wal"), strings.Repeat("old log ", 1000))
			os.Remove(filepath.Join(dir, "projection.db"))
		},
		"not a database": func(t *testing.T, dir string) {
			write(t, filepath.Join(dir, "projection.db"), strings.Repeat("nonsense ", 10_000))
		},
		"empty": func(t *testing.T, dir string) { write(t, filepath.Join(dir, "projection.db"), "") },
		"cut short": func(t *testing.T, dir string) {
			if err := os.Truncate(filepath.Join(dir, "projection.db"), 4096+100); err != nil {
				t.Fatal(err)
			}
		},
	}
	for name, damage := range tests {
		t.Run(name, func(t *testing.T) {
			b, dir := bustest.New(t), t.TempDir()
			b.Add(posts("a", "b")...)
			v := start(t, b, dir)
			v.expect(t, "a b ")
			v.stop()
			damage(t, dir)
			start(t, b, dir).expect(t, "a b ")
		})
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestDatabaseDamagedWhileItRunsIsBuiltAgain(t *testing.T) {
	b, dir := bustest.New(t), t.TempDir()
	var titles []string
	for i := range 3000 {
		titles = append(titles, fmt.Sprintf("%05d", i))
	}
	b.Add(posts(titles...)...)
	v := start(t, b, dir)
	v.expect(t, strings.Join(titles, " ")+" ")
	v.stop() // all is in the file now
	file, err := os.OpenFile(filepath.Join(dir, "projection.db"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	for page := int64(8); page < 30; page++ { // not those that opening reads
		file.WriteAt([]byte(strings.Repeat("\xff", 4096)), page*4096)
	}
	file.Close()
	v = start(t, b, dir)
	v.expect(t, strings.Join(titles, " ")+" ") // reading it finds the damage
	if _, dropped := v.told(); dropped != 1 {
		t.Errorf("it was dropped %d times", dropped)
	}
	b.Add(posts("new")...)
	v.expect(t, strings.Join(titles, " ")+" new ")
}

func TestAnotherSchemaIsBuiltAgain(t *testing.T) {
	b, dir := bustest.New(t), t.TempDir()
	b.Add(posts("a", "b")...)
	v := start(t, b, dir)
	v.expect(t, "a b ")
	v.stop()
	v = &view{}
	c := config(b, dir, v)
	c.Schema = "CREATE TABLE posts (title TEXT, id TEXT UNIQUE, n INTEGER PRIMARY KEY) -- version 2"
	v.run(t, c).expect(t, "a b ")
	v.expectTold(t, 1, 2)
}

func TestAnotherLogReplacesTheData(t *testing.T) {
	tests := map[string]struct {
		change func(b *bustest.Bus)
		want   string
	}{
		"another log":                        {func(b *bustest.Bus) { b.Become(false, posts("x", "y", "z", "u")...) }, "x y z u "},
		"another log, empty":                 {func(b *bustest.Bus) { b.Become(false) }, ""},
		"a log that ends before":             {func(b *bustest.Bus) { b.Truncate(1) }, "a "},
		"a log that ends before and goes on": {func(b *bustest.Bus) { b.Truncate(1); b.Add(posts("d")...) }, "a d "},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b := bustest.New(t)
			b.Add(posts("a", "b", "c")...)
			v := start(t, b, t.TempDir())
			v.expect(t, "a b c ")
			test.change(b)
			v.expect(t, test.want)
			b.Add(posts("new")...)
			v.expect(t, test.want+"new ")
			if v.Ready() != nil {
				t.Error("it was ready, and is no more")
			}
			if _, dropped := v.told(); dropped != 1 {
				t.Errorf("it was dropped %d times", dropped)
			}
		})
	}
}
