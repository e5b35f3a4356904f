package push

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"miniblog/event-bus/eventlog"
	"miniblog/internal/event"
)

// Source is what a Store keeps of a subscriber, to be read.
type Source interface {
	Load(keep func(DeadLetter)) (p Position, found bool, err error)
	Letter(event.Sequence) (DeadLetter, error)
}

// InFolder returns what a bus that is alone has kept in dir, by subscriber.
// Nothing may be delivering meanwhile.
func InFolder(dir string) (map[string]Source, error) {
	files, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	kept := map[string]Source{}
	for _, f := range files {
		if name, ok := strings.CutSuffix(f.Name(), positionSuffix); ok && names.MatchString(name) {
			kept[name] = newFileStore(dir, name)
		}
	}
	return kept, nil
}

// NewFolder returns the store of a subscriber in dir, where a bus that is alone
// looks for it.
func NewFolder(dir, subscriber string) Store { return newFileStore(dir, subscriber) }

// Carry puts what is kept of a subscriber into another store, which is left as it
// is if it has a position already. The other one's log is the same, and ends at
// last; read reads it. The position comes last: what was interrupted can be done
// again.
func Carry(from Source, to Store, read func(after event.Sequence) *eventlog.Reader, last event.Sequence) error {
	var letters []event.Sequence
	p, found, err := from.Load(func(letter DeadLetter) { letters = append(letters, letter.Sequence) })
	if err != nil || !found {
		return err
	}
	if _, found, err = to.Load(func(DeadLetter) {}); err != nil || found {
		return err
	}
	for _, q := range letters {
		if q > last {
			continue
		}
		letter, err := from.Letter(q)
		if err == nil {
			err = complete(read, &letter)
		}
		if err == nil {
			err = to.Add(letter)
		}
		if err != nil {
			return fmt.Errorf("the dead letter of event %d: %w", q, err)
		}
	}
	p.Cursor = min(p.Cursor, last)
	return to.Save(p)
}
