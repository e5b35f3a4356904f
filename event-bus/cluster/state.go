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
)

// state is the file applied.json: what of the stream is in the eventlog, and
// durable there. What the eventlog holds beyond it is compared with what comes
// from the stream again.
type state struct {
	Log string `json:"log"`
	applied
}

const (
	stateFile = "applied.json"
	saveEvery = time.Second
)

// loadState reads the state; it is zero where there is none.
func loadState(dir string) (s state, err error) {
	text, err := os.ReadFile(filepath.Join(dir, stateFile))
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &s)
	}
	if err != nil {
		err = fmt.Errorf("%s cannot be read (a copy whose folder is emptied reads the stream again): %w", filepath.Join(dir, stateFile), err)
	}
	return s, err
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
	s := state{l.ID(), l.current}
	l.mu.Unlock()
	if s.Message == 0 {
		return nil
	}
	if err := l.Copy.Sync(); err != nil {
		return err
	}
	text, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return replaceFile(l.config.Dir, stateFile, append(text, '\n'))
}

// replaceFile gives a file new contents, all or none of them, durably.
func replaceFile(dir, name string, contents []byte) error {
	path := filepath.Join(dir, name)
	f, err := os.Create(path + ".tmp")
	if err != nil {
		return err
	}
	_, err = f.Write(contents)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(path+".tmp", path); err != nil {
		return err
	}
	folder, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}
