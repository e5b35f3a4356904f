package eventlog

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"miniblog/internal/disk/crashdisk"
	"miniblog/internal/event"
)

// call is a call of Append.
type call struct{ records []testEvent }

func (c *call) String() string {
	var ids []string
	for _, r := range c.records {
		ids = append(ids, r.ID)
	}
	return strings.Join(ids, ",")
}

// The notes in a trace: what was tried, and what was said to whom.
type (
	noteTried     struct{ *call }
	noteAcked     struct{ lines map[event.Sequence][]byte }
	noteSeen      struct{ lines [][]byte } // the first so many of the log, by a reader
	noteDelivered struct{ cursor event.Sequence }
	noteSaved     struct{ cursor event.Sequence }
	noteOpened    struct{ id string }
)

func (n noteTried) String() string { return "NOTE tried " + n.call.String() }
func (n noteAcked) String() string {
	return fmt.Sprint("NOTE acknowledged ", slices.Sorted(maps.Keys(n.lines)))
}
func (n noteSeen) String() string      { return fmt.Sprintf("NOTE a reader saw all up to %d", len(n.lines)) }
func (n noteDelivered) String() string { return fmt.Sprintf("NOTE delivered %d", n.cursor) }
func (n noteSaved) String() string     { return fmt.Sprintf("NOTE cursor %d saved", n.cursor) }
func (n noteOpened) String() string    { return "NOTE opened" }

// promise is what the log has told the world, and so has to keep after a crash.
type promise struct {
	lines     [][]byte         // event i+1, nil if nobody was told of it yet
	told      int              // how many are not nil
	tried     map[string]*call // by the ids of their events
	delivered event.Sequence   // to a subscriber
	saved     event.Sequence   // its cursor
	id        string           // of the log
}

func (p *promise) clone() *promise {
	next := *p
	next.lines = slices.Clone(p.lines)
	next.tried = maps.Clone(p.tried)
	return &next
}

// apply takes a note in. It fails if that contradicts what was told before.
func (p *promise) apply(note any) error {
	switch n := note.(type) {
	case noteTried:
		if p.tried == nil {
			p.tried = map[string]*call{}
		}
		for _, r := range n.records {
			if p.tried[r.ID] == nil {
				p.tried[r.ID] = n.call
			}
		}
	case noteAcked:
		for sequence, line := range n.lines {
			if err := p.tell(sequence, line); err != nil {
				return err
			}
		}
	case noteSeen:
		for i, line := range n.lines {
			if err := p.tell(event.Sequence(i+1), line); err != nil {
				return err
			}
		}
	case noteDelivered:
		p.delivered = n.cursor
	case noteSaved:
		p.saved = n.cursor
	case noteOpened:
		p.id = n.id
	}
	return nil
}

// tell notes that somebody was told what the event of that sequence is.
func (p *promise) tell(sequence event.Sequence, line []byte) error {
	for len(p.lines) < int(sequence) {
		p.lines = append(p.lines, nil)
	}
	if known := p.lines[sequence-1]; known != nil && !bytes.Equal(known, line) {
		return fmt.Errorf("event %d was %.200q and is now %.200q", sequence, known, line)
	}
	if p.lines[sequence-1] == nil {
		p.told++
	}
	p.lines[sequence-1] = line
	return nil
}

// kept compares what a log holds with the promise: every event that somebody
// was told of is there and the same; what else is there was tried; and of what
// was tried at once all is there or nothing.
func (p *promise) kept(l *Log) ([][]byte, error) {
	if p.id != "" && l.ID() != p.id {
		return nil, fmt.Errorf("the log's id was %s and is now %s", p.id, l.ID())
	}
	lines, err := linesOf(l)
	if err != nil {
		return nil, err
	}
	if len(lines) < len(p.lines) {
		return nil, fmt.Errorf("events %d to %d are gone, the log ends before them", len(lines)+1, len(p.lines))
	}
	place := map[string]int{} // of each id
	for i, line := range lines {
		head, ok := event.ReadLine(line)
		if !ok || head.Sequence() != event.Sequence(i+1) {
			return nil, fmt.Errorf("event %d is %.200q", i+1, line)
		}
		id := string(head.ID())
		if before, twice := place[id]; twice {
			return nil, fmt.Errorf("event %q is there twice, as %d and %d", id, before+1, i+1)
		}
		place[id] = i
		if i < len(p.lines) && p.lines[i] != nil {
			if !bytes.Equal(p.lines[i], line) {
				return nil, fmt.Errorf("event %d was %.200q and is now %.200q", i+1, p.lines[i], line)
			}
			continue
		}
		c := p.tried[id]
		if c == nil || !c.has(head) {
			return nil, fmt.Errorf("event %d was never published: %.200q", i+1, line)
		}
	}
	for i, line := range lines {
		if i >= len(p.lines) || p.lines[i] == nil {
			head, _ := event.ReadLine(line)
			if err := p.whole(p.tried[string(head.ID())], place); err != nil {
				return nil, err
			}
		}
	}
	return lines, nil
}

// has tells whether line is one of the call's events.
func (c *call) has(line event.Line) bool {
	for _, r := range c.records {
		if bytes.Equal(r.Line.Append(nil, line.Sequence()), line.Text()) {
			return true
		}
	}
	return false
}

// whole tells whether all of the call's events are there, in order.
func (p *promise) whole(c *call, place map[string]int) error {
	last := -1
	for i, r := range c.records {
		at, ok := place[r.ID]
		if !ok {
			return fmt.Errorf("of the events %s, which were published as one, %s is missing", c, r.ID)
		}
		if p.tried[r.ID] != c || slices.ContainsFunc(c.records[:i], func(before testEvent) bool { return before.ID == r.ID }) {
			continue // a duplicate
		}
		if at < last {
			return fmt.Errorf("the events %s are not in their order", c)
		}
		last = at
	}
	return nil
}

// linesOf reads a whole log, and once more as zstd frames.
func linesOf(l *Log) (lines [][]byte, err error) {
	last := l.Last()
	var text []byte
	for r := l.Reader(0); ; {
		b, err := r.Next()
		if err != nil {
			return nil, err
		}
		if b.Count == 0 {
			break
		}
		if b.First != event.Sequence(len(lines)+1) {
			return nil, fmt.Errorf("after event %d comes event %d", len(lines), b.First)
		}
		start := len(text)
		text = append(text, b.Text...)
		for line := range (Batch{Text: text[start:]}).Lines() {
			lines = append(lines, bytes.Clone(line))
		}
	}
	if len(lines) < int(last) {
		return nil, fmt.Errorf("the log says that it holds %d events, and reads as %d", last, len(lines))
	}
	frames, err := l.Frames(0, uint64(len(lines)), nil)
	if err != nil {
		return nil, err
	}
	defer frames.Close()
	var encoded bytes.Buffer
	if _, err := frames.WriteTo(&encoded); err != nil {
		return nil, err
	}
	decoded, err := decoder().DecodeAll(encoded.Bytes(), nil)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(decoded, text) {
		return nil, errors.New("the log's frames decode to something else than its events")
	}
	return lines, nil
}

// cursorFile holds the cursor of the subscriber in the workloads.
const cursorFile = "cursor"

// cursorKept compares the saved cursor with the promise: it is at least where
// it was saved, and never ahead of what was delivered.
func (p *promise) cursorKept(d *crashdisk.Disk) error {
	text, found := d.Files()[cursorFile]
	if !found && p.saved == 0 {
		return nil
	}
	cursor, err := event.ParseSequence(string(text))
	if err != nil || cursor < p.saved || cursor > p.delivered {
		return fmt.Errorf("the cursor is %q; it was saved as %d, and delivered was up to %d", text, p.saved, p.delivered)
	}
	return nil
}
