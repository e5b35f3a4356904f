package api

import (
	"fmt"

	"miniblog/event-bus/eventlog"
	"miniblog/internal/event"
)

// selection walks over the events that a query wants, a batch at a time, up to
// last.
type selection struct {
	reader *eventlog.Reader
	query  query          // its limit counts down
	last   event.Sequence // the durable end, as it was when somebody last looked
	passed event.Sequence // everything up to here was looked at
	batch  eventlog.Batch // what to send next
	chosen []byte         // holds the lines of batch when types were chosen
}

func newSelection(log *eventlog.Log, q query) *selection {
	s := &selection{reader: log.Reader(q.after), query: q, last: log.Last(), passed: q.after}
	if len(q.types) == 0 {
		s.reader.Want(q.limit)
	}
	return s
}

// close ends the selection and its last batch.
func (s *selection) close() { s.reader.Close() }

// ready tells whether batch has something to send.
func (s *selection) ready() bool { return len(s.batch.Text) > 0 }

// advance puts what is to be sent next into batch; nothing, if there is nothing
// up to last.
func (s *selection) advance() error {
	s.batch = eventlog.Batch{}
	for !s.ready() && s.query.limit > 0 && s.passed < s.last {
		b, err := s.reader.Next()
		if err != nil {
			return err
		}
		if b.Count == 0 {
			return fmt.Errorf("the log ends after event %d, before its durable end %d", s.passed, s.last)
		}
		s.passed = b.Last()
		s.last = max(s.last, s.passed) // what became durable meanwhile is in the same batch
		if len(s.query.types) > 0 {
			b = s.choose(b)
		} else if uint64(b.Count) > s.query.limit {
			b = b.Until(b.First + event.Sequence(s.query.limit) - 1)
		}
		s.query.limit -= uint64(b.Count)
		s.batch = b
	}
	return nil
}

// choose keeps the lines of the wanted types, no more than the limit.
func (s *selection) choose(b eventlog.Batch) eventlog.Batch {
	s.chosen = s.chosen[:0]
	chosen := eventlog.Batch{First: b.First}
	for text := range b.Lines() {
		if uint64(chosen.Count) == s.query.limit {
			break
		}
		if line, ok := event.ReadLine(text); ok && s.query.types[string(line.Type())] {
			s.chosen = append(append(s.chosen, text...), '\n')
			chosen.Count++
		}
	}
	chosen.Text = s.chosen
	return chosen
}
