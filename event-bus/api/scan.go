package api

import (
	"context"
	"fmt"

	"miniblog/event-bus/eventlog"
	"miniblog/internal/event"
)

// scan walks over the decoded log, as much at a time as is stored together, and
// finds what is wanted, up to last.
type scan struct {
	reader *eventlog.Reader
	want   wanted         // its limit counts down
	last   event.Sequence // the durable end, as it was when somebody last looked
	passed event.Sequence // everything up to here was looked at
	found  eventlog.Batch // what to send next
	chosen []byte         // holds the lines of found when types were chosen
}

func newScan(log Log, want wanted) *scan {
	s := &scan{reader: log.Reader(want.after), want: want, last: log.Last(), passed: want.after}
	if len(want.types) == 0 {
		s.reader.Want(want.limit)
	}
	return s
}

// close gives back what the scan holds, and with it what it found last. It may go
// on after that.
func (s *scan) close() {
	s.reader.Close()
	s.chosen = nil
}

// held returns how many bytes the scan holds of its own.
func (s *scan) held() int { return s.reader.Held() + cap(s.chosen) }

// ready tells whether something was found.
func (s *scan) ready() bool { return len(s.found.Text) > 0 }

// advance puts what is to be sent next into found; nothing, if there is nothing
// up to last. It ends early with the error of reader, the context of whoever
// reads the answer.
func (s *scan) advance(reader context.Context) error {
	s.found = eventlog.Batch{}
	for !s.ready() && s.want.limit > 0 && s.passed < s.last {
		if err := reader.Err(); err != nil {
			return err
		}
		b, err := s.reader.Next()
		if err != nil {
			return err
		}
		if b.Count == 0 {
			return fmt.Errorf("the log ends after event %d, before its durable end %d", s.passed, s.last)
		}
		s.passed = b.Last()
		s.last = max(s.last, s.passed) // what became durable meanwhile is in the same batch
		if len(s.want.types) > 0 {
			b = s.choose(b)
		} else if uint64(b.Count) > s.want.limit {
			b = b.Until(b.First + event.Sequence(s.want.limit) - 1)
		}
		s.want.limit -= uint64(b.Count)
		s.found = b
	}
	return nil
}

// choose keeps the lines of the wanted types, no more than the limit.
func (s *scan) choose(b eventlog.Batch) eventlog.Batch {
	s.chosen = s.chosen[:0]
	chosen := eventlog.Batch{First: b.First}
	for text := range b.Lines() {
		if uint64(chosen.Count) == s.want.limit {
			break
		}
		if line, ok := event.ReadLine(text); ok && s.want.types[string(line.Type())] {
			s.chosen = append(append(s.chosen, text...), '\n')
			chosen.Count++
		}
	}
	chosen.Text = s.chosen
	return chosen
}
