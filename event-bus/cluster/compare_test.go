package cluster_test

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"miniblog/event-bus/cluster"
	"miniblog/event-bus/cluster/natstest"
	"miniblog/event-bus/eventlog"
)

// compareEvery is short, and yet long enough for three copies on a busy machine to
// have spoken before a tie is over.
const compareEvery = 600 * time.Millisecond

// openComparing opens a copy that compares what it has all the time.
func openComparing(t *testing.T, servers *natstest.Cluster, dir string) *cluster.Log {
	t.Helper()
	l, err := cluster.Open(t.Context(), cluster.Config{Servers: servers.URL(), Dir: dir, CompareEvery: compareEvery, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// rot makes the copy in a folder, which nobody has open, one that has applied
// something else than the others.
func rot(t *testing.T, dir string) {
	t.Helper()
	file := filepath.Join(dir, "applied.json")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	rotten := regexp.MustCompile(`"checksum":\d+`).ReplaceAll(text, []byte(`"checksum":12345`))
	if string(rotten) == string(text) {
		t.Fatalf("there is no checksum in %s", text)
	}
	if err := os.WriteFile(file, rotten, 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestACopyThatDiffersFromMostStopsAndTheOthersGoOn(t *testing.T) {
	t.Parallel() // most of it is waiting
	servers := natstest.Start(t, natstest.Options{})
	dirs := []string{t.TempDir(), t.TempDir(), t.TempDir()}
	var copies []*cluster.Log
	for _, dir := range dirs {
		copies = append(copies, openComparing(t, servers, dir))
	}
	defer func() {
		for _, l := range copies {
			closeLog(t, l)
		}
	}()
	stored := 20
	mustStore(t, copies[0], lines(t, "before", stored))
	mustBeEqual(t, stored, copies...)

	for i, dir := range dirs {
		closeLog(t, copies[i])
		rot(t, dir)
		copies[i] = openComparing(t, servers, dir)
		rotten, good, other := copies[i], copies[(i+1)%3], copies[(i+2)%3]
		mustStore(t, good, lines(t, "rotten"+dir, 10))
		stored += 10
		waitFor(t, "the copy that differs stops", func() bool {
			return rotten.Failure() != nil
		})
		if err := rotten.Failure(); !errors.Is(err, eventlog.ErrReadOnly) || !strings.Contains(err.Error(), "differs from 2 others") {
			t.Errorf("it stopped because %v", err)
		}
		mustStore(t, good, lines(t, "after"+dir, 10))
		stored += 10
		mustBeEqual(t, stored, good, other)

		closeLog(t, rotten) // emptied, it is a copy like any other
		if err := errors.Join(os.RemoveAll(dir), os.Mkdir(dir, 0o755)); err != nil {
			t.Fatal(err)
		}
		copies[i] = openComparing(t, servers, dir)
		mustStore(t, copies[i], lines(t, "emptied"+dir, 1))
		stored++
		mustBeEqual(t, stored, copies...)
	}
}

func TestTwoCopiesThatDifferBothStop(t *testing.T) {
	t.Parallel() // most of it is waiting
	servers := natstest.Start(t, natstest.Options{})
	dir := t.TempDir()
	rotten, good := openComparing(t, servers, dir), openComparing(t, servers, t.TempDir())
	defer func() { closeLog(t, good) }()
	mustStore(t, good, lines(t, "before", 20))
	mustBeEqual(t, 20, rotten, good)
	closeLog(t, rotten)
	rot(t, dir)
	rotten = openComparing(t, servers, dir)
	defer closeLog(t, rotten)
	mustStore(t, good, lines(t, "after", 10))
	for what, l := range map[string]*cluster.Log{"the rotten copy stops": rotten, "so does the other": good} {
		waitFor(t, what, func() bool { return l.Failure() != nil })
		if err := l.Failure(); !strings.Contains(err.Error(), "there is no majority") {
			t.Errorf("it stopped because %v", err)
		}
	}
}
