package cluster

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/go-json-experiment/json"

	"miniblog/internal/disk"
)

// state is the file applied.json: what of the stream is in the eventlog, and
// durable there. What the eventlog holds beyond it is compared with what comes
// from the stream again.
type state struct {
	Log  string `json:"log"`
	Copy string `json:"copy"` // the name of this one, which it keeps
	applied
}

const (
	stateFile = "applied.json"
	saveEvery = time.Second
)

// loadState reads the state; where there is none it has a new name alone.
func loadState(dir string) (s state, err error) {
	text, err := os.ReadFile(filepath.Join(dir, stateFile))
	if errors.Is(err, fs.ErrNotExist) {
		return state{Copy: newName()}, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &s)
	}
	if err != nil {
		err = fmt.Errorf("%s cannot be read (a copy whose folder is emptied reads the stream again): %w", filepath.Join(dir, stateFile), err)
	}
	return s, err
}

// IsCopy tells whether dir holds a copy of a cluster's log.
func IsCopy(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, stateFile))
	return err == nil
}

// save saves the state now and then.
func (l *Log) save(ctx context.Context) {
	for pause(ctx, saveEvery) {
		if err := l.saveState(); err != nil {
			l.fail(err)
			return
		}
	}
}

// saveState makes durable what was applied, and then the state that says so.
func (l *Log) saveState() error {
	l.mu.Lock()
	s := state{l.ID(), l.name, l.current}
	l.mu.Unlock()
	if err := l.copy.Sync(); err != nil {
		return err
	}
	text, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return disk.Replace(disk.Dir(l.config.Dir), stateFile, append(text, '\n'))
}
