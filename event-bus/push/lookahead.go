package push

import (
	"bytes"
	"fmt"

	"miniblog/event-bus/eventlog"
	"miniblog/internal/event"
)

// lookahead reads the log into a window, as far ahead of the cursor as the
// window allows. An event that cannot be read is not passed over: reading ends
// there until somebody has mended the log and asks for a replay; what is in the
// window is still delivered.
type lookahead struct {
	log    *eventlog.Log
	sub    *Subscriber
	reader *eventlog.Reader
	unread eventlog.Batch // read and not yet in the window
	window *window
	err    error // why the log cannot be read
}

// startFrom reads on after the given sequence and forgets what was read.
func (l *lookahead) startFrom(after event.Sequence) {
	l.reader = l.log.Reader(after)
	l.unread = eventlog.Batch{}
	l.window = newWindow(after)
	l.err = nil
}

// wants tells whether more of the log is wanted.
func (l *lookahead) wants() bool { return l.err == nil && !l.window.full() }

// more returns a channel that is closed when there is more to read.
func (l *lookahead) more() <-chan struct{} { return l.log.Beyond(l.window.read) }

// fill reads what is stored together into the window, and no more, so that a
// long way to the next event for this subscriber holds up nothing else.
func (l *lookahead) fill() error {
	if l.unread.Count == 0 {
		if l.unread, l.err = l.reader.Next(); l.err != nil {
			return l.err
		}
	}
	for line := range l.unread.Lines() {
		if l.window.full() {
			return nil
		}
		if l.err = l.add(line); l.err != nil {
			return l.err
		}
		l.unread = eventlog.Batch{First: l.unread.First + 1, Count: l.unread.Count - 1, Text: l.unread.Text[len(line)+1:]}
	}
	return nil
}

// add moves one event into the window if the subscriber wants it.
func (l *lookahead) add(text []byte) error {
	if typ := event.TypeOf(text); len(typ) > 0 && !l.sub.wants(string(typ)) { // a fifth of the work, for nearly all events
		l.window.read = l.unread.First
		return nil
	}
	line, ok := event.ReadLine(text)
	if !ok {
		return fmt.Errorf("event %d is not in the log's own form", l.unread.First)
	}
	l.window.read = line.Sequence()
	l.window.add(&delivery{sequence: line.Sequence(), id: string(line.ID()), line: bytes.Clone(text), deliveredBefore: untried}, l.laneOf(line))
	return nil
}

// laneOf returns the key of the lane that an event waits in.
func (l *lookahead) laneOf(line event.Line) string {
	if l.sub.ordered() {
		return string(line.Subject())
	}
	return line.Sequence().String()
}
