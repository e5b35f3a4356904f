package eventlog

import (
	"bytes"
	"context"
	"fmt"
	"hash/crc32"

	"miniblog/internal/disk"
	"miniblog/internal/event"
)

// Mark is a position of a copy: the last event that was applied, and a checksum
// over all lines up to it. Copies with equal histories have equal marks.
type Mark struct {
	Sequence event.Sequence `json:"sequence"`
	Checksum uint32         `json:"checksum"` // CRC-32C, newlines included
}

// Copy is one of several copies of a log. Somebody else gives the events their
// order and makes them durable; the copy numbers them and stores an id once. Its
// methods belong to one goroutine, but for Sync and those of Log.
//
//   - What was applied after the last Sync may be missing after a crash, and must
//     be applied again.
//   - While mark is before Last, Apply compares what comes with what is stored.
type Copy struct {
	*Log
	mark Mark
	text []byte // lines as they are stored
}

// OpenCopy opens the copy of the log with that id in the folder dir, or begins
// one, and goes on after mark: what the log holds beyond it must be applied again
// and is compared.
func OpenCopy(dir, id string, mark Mark, options Options) (*Copy, error) {
	options.copied, options.idsUntil = true, mark.Sequence
	l, err := Open(dir, options)
	if err != nil {
		return nil, err
	}
	if l.id != id {
		if l.durable > 0 {
			err = fmt.Errorf("%s holds the log %s, and not a copy of %s", dir, l.id, id)
		} else if err = disk.Replace(l.folder, idFile, []byte(id+"\n")); err == nil {
			l.id = id
		}
	}
	if err == nil && l.durable < mark.Sequence {
		err = fmt.Errorf("the copy in %s ends at event %d, though event %d was stored", dir, l.durable, mark.Sequence)
	}
	if err != nil {
		l.Close()
		return nil, err
	}
	return &Copy{Log: l, mark: mark}, nil
}

// Mark returns what was applied.
func (c *Copy) Mark() Mark { return c.mark }

// Difference says that the copy holds another event than the one that it is to
// apply there.
type Difference struct{ Sequence event.Sequence }

// Error implements error.
func (d *Difference) Error() string {
	return fmt.Sprintf("this copy holds another event %d than the cluster's stream gives", d.Sequence)
}

// Apply stores the events that come next, as Append does. Its errors are those
// of Append and *Difference; after one the copy must not go on.
func (c *Copy) Apply(ctx context.Context, lines []event.Line) ([]Position, error) {
	positions, err := c.compare(lines)
	if err != nil {
		return nil, err
	}
	if rest := lines[len(positions):]; len(rest) > 0 {
		stored, err := c.Append(ctx, rest)
		if err != nil {
			return nil, err
		}
		c.text = c.text[:0]
		for i, p := range stored {
			if !p.Duplicate {
				c.text = append(rest[i].Append(c.text, p.Sequence), '\n')
				c.mark.Sequence = p.Sequence
			}
		}
		c.mark.Checksum = crc32.Update(c.mark.Checksum, castagnoli, c.text)
		positions = append(positions, stored...)
	}
	return positions, nil
}

// compare applies the first lines, those that the log should hold already, and
// returns their positions. Nothing is being appended meanwhile.
func (c *Copy) compare(lines []event.Line) ([]Position, error) {
	if c.mark.Sequence == c.Last() {
		return nil, nil
	}
	r := c.Reader(c.mark.Sequence)
	defer r.Close()
	r.Want(uint64(len(lines)))
	var positions []Position
	var stored Batch
	for _, line := range lines {
		if c.mark.Sequence == c.Last() {
			break
		}
		key, next := event.KeyOf(line.ID()), c.mark.Sequence+1
		q, duplicate := c.ids.find(key, next)
		if !duplicate {
			if stored.Count == 0 {
				var err error
				if stored, err = r.Next(); err != nil {
					return nil, err
				}
			}
			c.text = append(line.Append(c.text[:0], next), '\n')
			if !bytes.HasPrefix(stored.Text, c.text) {
				return nil, &Difference{next}
			}
			stored = Batch{stored.First + 1, stored.Count - 1, stored.Text[len(c.text):]}
			c.ids.rotate()
			c.ids.add(key, next)
			c.mark = Mark{next, crc32.Update(c.mark.Checksum, castagnoli, c.text)}
			q = next
		}
		positions = append(positions, Position{q, duplicate})
	}
	return positions, nil
}

// Sync makes durable what was applied before it was called. It may run beside
// Apply. After an error the log takes no more events.
func (c *Copy) Sync() error {
	c.mu.Lock()
	active, last := c.activeLocked(), c.durable // the segments before it are synced
	c.mu.Unlock()
	if err := active.file.Sync(); err != nil {
		err = fmt.Errorf("%w: syncing %s: %w", ErrReadOnly, active.name, err)
		c.refuse(err)
		return err
	}
	c.synced.Store(uint64(last))
	return nil
}
