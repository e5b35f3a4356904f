// Package move takes the log of one machine into a cluster, and out again.
//
// Its law: the log arrives with the same lines at the same places and under the
// same id, and its subscribers go on where they were; what it comes from is left as
// it is, and no part of an export can be taken for the whole.
package move

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"time"

	"miniblog/event-bus/cluster"
	"miniblog/event-bus/eventlog"
	"miniblog/event-bus/push"
	"miniblog/internal/disk"
	"miniblog/internal/event"
)

// Import puts the log in dir into the stream that config names, through the copy
// in config's folder. The stream must have no other events. What an import that
// was interrupted has put there is not sent again. It says on out what it did.
func Import(ctx context.Context, config cluster.Config, dir string, out io.Writer) error {
	from, err := eventlog.Open(dir, eventlog.Options{Logger: config.Logger})
	if err != nil {
		return err
	}
	defer from.Close()
	config.NewLog = from.ID()
	to, err := cluster.Open(ctx, config)
	if err != nil {
		return err
	}
	defer to.Close()
	if to.ID() != from.ID() {
		return fmt.Errorf("the servers have a stream with the log %s already, and %s holds the log %s: import before the first bus starts on them", to.ID(), dir, from.ID())
	}
	there, err := endOf(ctx, to)
	if err != nil {
		return err
	}
	if there > 0 { // of an import that was interrupted
		one, err := digest(to, there)
		other, err2 := digest(from, there)
		if err := errors.Join(err, err2); err != nil {
			return err
		}
		if one != other {
			return fmt.Errorf("the stream has %d events that are not the first ones of %s: it must be removed first", there, dir)
		}
	}
	for lines, err := range groups(from, there, from.Last()) {
		if err == nil {
			err = appendAt(ctx, to, lines)
		}
		if err != nil {
			return err
		}
	}
	if err := importSubscribers(ctx, to, from, dir); err != nil {
		return err
	}
	fmt.Fprintf(out, "The stream has the log %s to event %d; %d events were there before.\n", to.ID(), to.Last(), there)
	return nil
}

// Subscribers is the folder of a log in which a bus that is alone keeps cursors
// and dead letters.
const Subscribers = "subscribers"

// importSubscribers puts the cursors and dead letters of the log in dir beside the
// stream. It gives up when a bus of the cluster delivers already.
func importSubscribers(ctx context.Context, to *cluster.Log, from *eventlog.Log, dir string) error {
	kept, err := push.InFolder(filepath.Join(dir, Subscribers))
	if err != nil {
		return err
	}
	owners := to.Owners("event-bus import", cluster.Lease)
	for name, source := range kept {
		soon, cancel := context.WithTimeout(ctx, 4*cluster.Lease)
		tenure, err := owners.Own(soon, name, func(context.Context, []byte) []byte { return nil })
		cancel()
		if err != nil {
			return fmt.Errorf("the cursor of subscriber %s: a bus of the cluster delivers to it already; stop the buses and import again: %w", name, err)
		}
		err = push.Carry(source, tenure.Store, from.Reader, from.Last())
		tenure.End()
		if err != nil {
			return fmt.Errorf("the cursor of subscriber %s: %w", name, err)
		}
	}
	return nil
}

// Source is what an export reads: a log and its subscribers.
type Source interface {
	Log
	Kept(context.Context) (map[string]push.Source, error) // of each subscriber
}

// Log is the log of one machine, or a copy of a cluster's.
type Log interface {
	ID() string
	Last() event.Sequence
	End(context.Context) (event.Sequence, error) // of the whole log
	Reader(after event.Sequence) *eventlog.Reader
}

// Export writes a log to its end to the folder dir, which must not be there, as
// the log of one machine. It says on out what it did.
func Export(ctx context.Context, from Source, dir string, out io.Writer) error {
	if _, err := os.Stat(dir); err == nil {
		return fmt.Errorf("%s is there already; name a folder that is not", dir)
	}
	last, err := endOf(ctx, from)
	if err != nil {
		return err
	}
	part := filepath.Clean(dir) + ".part" // nobody must take a part for the whole
	if err := os.RemoveAll(part); err != nil {
		return err
	}
	if err := disk.MakeDir(part); err != nil {
		return err
	}
	if err := write(ctx, from, last, part); err != nil {
		return err
	}
	if err := exportSubscribers(ctx, from, last, filepath.Join(part, Subscribers)); err != nil {
		return err
	}
	if err := os.Rename(part, dir); err != nil {
		return err
	}
	if err := disk.Dir(filepath.Dir(filepath.Clean(dir))).SyncDir(); err != nil {
		return err
	}
	fmt.Fprintf(out, "%s has the log %s to event %d.\n", dir, from.ID(), last)
	return nil
}

// exportSubscribers writes the cursors and dead letters of a log up to an event to
// the folder dir.
func exportSubscribers(ctx context.Context, from Source, last event.Sequence, dir string) error {
	kept, err := from.Kept(ctx)
	if err == nil && len(kept) > 0 {
		err = disk.MakeDir(dir)
	}
	for name, source := range kept {
		if err == nil {
			err = push.Carry(source, push.NewFolder(dir, name), from.Reader, last)
		}
	}
	return err
}

// write writes a log up to an event to the empty folder dir.
func write(ctx context.Context, from Log, last event.Sequence, dir string) error {
	to, err := eventlog.OpenCopy(dir, from.ID(), eventlog.Mark{}, eventlog.Options{})
	if err != nil {
		return err
	}
	defer to.Close()
	for lines, err := range groups(from, 0, last) {
		if err != nil {
			return err
		}
		positions, err := to.Apply(ctx, lines)
		if err != nil {
			return err
		}
		if err := inPlace(lines, positions); err != nil {
			return err
		}
	}
	return to.Sync()
}

// appendAt appends events of another log to the cluster's, where each must get
// the place that it had.
func appendAt(ctx context.Context, to *cluster.Log, lines []event.Line) error {
	positions, err := to.Append(ctx, lines)
	for errors.Is(err, eventlog.ErrUnavailable) && ctx.Err() == nil { // the same ids: they are stored once
		positions, err = to.Append(ctx, lines)
	}
	if err != nil {
		return fmt.Errorf("storing the events from %d: %w", lines[0].Sequence(), err)
	}
	return inPlace(lines, positions)
}

// inPlace makes sure that events have the places that they had.
func inPlace(lines []event.Line, positions []eventlog.Position) error {
	for i, p := range positions {
		if p.Sequence != lines[i].Sequence() {
			return fmt.Errorf("event %d has become event %d: what was written must be removed, and nobody may publish meanwhile", lines[i].Sequence(), p.Sequence)
		}
	}
	return nil
}

// groupBytes is how much is moved as one, in bytes of lines, once it is reached.
const groupBytes = 3 << 20

// groups iterates over the events of a log after one and up to another.
func groups(log Log, after, last event.Sequence) iter.Seq2[[]event.Line, error] {
	return func(yield func([]event.Line, error) bool) {
		r := log.Reader(after)
		defer r.Close()
		var lines []event.Line
		for size := 0; after < last; {
			b, err := r.Next()
			if err != nil {
				yield(nil, err)
				return
			}
			b = b.Until(last)
			after = b.Last()
			b.Text = bytes.Clone(b.Text) // the lines point into it
			size += len(b.Text)
			for text := range b.Lines() {
				line, ok := event.ReadLine(text)
				if !ok {
					yield(nil, fmt.Errorf("an event at or after %d is not in the log's own form", b.First))
					return
				}
				lines = append(lines, line)
			}
			if size >= groupBytes || after == last {
				if !yield(lines, nil) {
					return
				}
				lines, size = nil, 0
			}
		}
	}
}

// digest sums up a log up to an event.
func digest(log Log, last event.Sequence) (sum [sha256.Size]byte, err error) {
	r := log.Reader(0)
	defer r.Close()
	h := sha256.New()
	for {
		b, err := r.Next()
		if err != nil || b.Count == 0 {
			return sum, err // of a log that is shorter: nothing is like it
		}
		h.Write(b.Until(last).Text)
		if b.Last() >= last {
			return [sha256.Size]byte(h.Sum(nil)), nil
		}
	}
}

// endOf is log.End for a copy that may have to read for minutes; it gives up when
// nothing has come for one.
func endOf(ctx context.Context, log Log) (event.Sequence, error) {
	last, began := log.Last(), time.Now()
	for {
		end, err := log.End(ctx)
		if now := log.Last(); now != last {
			last, began = now, time.Now()
		}
		if !errors.Is(err, eventlog.ErrUnavailable) || time.Since(began) > time.Minute {
			return end, err
		}
	}
}
