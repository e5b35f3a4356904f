package activity

import (
	"bytes"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"miniblog/event-bus/eventlog"
	"miniblog/internal/event"
)

// moment is a time on the wire: to the microsecond, for steps are shorter than a
// millisecond.
type moment time.Time

// MarshalText implements encoding.TextMarshaler.
func (m moment) MarshalText() ([]byte, error) {
	return time.Time(m).UTC().AppendFormat(nil, "2006-01-02T15:04:05.000000Z"), nil
}

// milliseconds is a duration on the wire, to the microsecond.
func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// appendMessage appends one server-sent event.
func appendMessage(b []byte, name string, data any) []byte {
	text, err := json.Marshal(data)
	if err != nil {
		panic("activity: " + name + " does not encode: " + err.Error()) // strings are made valid before
	}
	b = append(append(append(b, "event: "...), name...), "\ndata: "...)
	return append(append(b, text...), "\n\n"...)
}

// valid makes text of others fit for JSON.
func valid(text string) string { return string(bytes.ToValidUTF8([]byte(text), []byte("�"))) }

// stored is a request's events that are on disk.
type stored struct {
	first           event.Sequence
	count           int
	arrived, onDisk time.Time
	reply           bool   // of a subscriber
	agent, address  string // of who published, else
}

// listedOne by one are the events of a batch up to so many; of a larger one only
// the first is described.
const listedOneByOne = 20

type storedMessage struct {
	Sequence event.Sequence `json:"sequence"`
	Last     event.Sequence `json:"last,omitzero"` // of a batch that is told as one
	ID       string         `json:"id"`
	Type     string         `json:"type"`
	Source   string         `json:"source"`
	Subject  string         `json:"subject,omitzero"`
	Cause    string         `json:"cause,omitzero"` // the id of the event that this one is the reaction to
	Size     int            `json:"size"`           // in bytes, as a line
	At       moment         `json:"at"`             // on disk
	MS       float64        `json:"ms"`             // from its arrival to the disk
	Reply    bool           `json:"reply,omitzero"` // a subscriber answered with it
	By       *Client        `json:"by,omitzero"`    // who published it, else
}

func (s *stored) appendTo(b []byte, lines *lines) []byte {
	last, listed := s.first+event.Sequence(s.count)-1, s.count
	if s.count > listedOneByOne {
		listed = 1
	}
	var by *Client
	if !s.reply {
		client := clientOf(s.agent, s.address)
		by = &client
	}
	for q := s.first; q < s.first+event.Sequence(listed); q++ {
		m := storedMessage{Sequence: q, At: moment(s.onDisk), MS: milliseconds(s.onDisk.Sub(s.arrived)), Reply: s.reply, By: by}
		if listed < s.count {
			m.Last = last
		}
		if line := lines.at(q); line != nil {
			l, _ := event.ReadLine(line)
			m.ID, m.Type, m.Source, m.Subject = string(l.ID()), string(l.Type()), string(l.Source()), string(l.Subject())
			m.Size = len(line)
			if cause, ok := strings.CutSuffix(m.ID, "/"+m.Type); ok {
				m.Cause = cause
			}
		}
		b = appendMessage(b, "stored", m)
	}
	return b
}

// lines reads lines of the log that mostly follow one another.
type lines struct {
	log    *eventlog.Log
	reader *eventlog.Reader
	batch  eventlog.Batch
}

// at returns the line with a sequence, until the next call; nil if it cannot be
// read.
func (l *lines) at(q event.Sequence) []byte {
	if l.reader == nil || q < l.batch.First {
		l.close()
		l.reader = l.log.Reader(q - 1)
		l.batch = eventlog.Batch{}
	}
	for l.batch.Count == 0 || l.batch.Last() < q {
		if l.batch.Count > 0 && l.batch.Last()+1 < q { // a gap: others were told of already
			l.close()
			l.reader = l.log.Reader(q - 1)
		}
		b, err := l.reader.Next()
		if err != nil || b.Count == 0 {
			l.close()
			return nil
		}
		l.batch = b
	}
	for line := range l.batch.Lines() {
		if l.batch.First == q {
			return line
		}
		l.batch = eventlog.Batch{First: l.batch.First + 1, Count: l.batch.Count - 1, Text: l.batch.Text[len(line)+1:]}
	}
	return nil
}

func (l *lines) close() {
	if l.reader != nil {
		l.reader.Close()
		l.reader, l.batch = nil, eventlog.Batch{}
	}
}

type deliveredMessage struct {
	Subscriber string         `json:"subscriber"`
	Sequence   event.Sequence `json:"sequence"`
	Attempt    int            `json:"attempt"`
	Outcome    string         `json:"outcome"`
	Status     int            `json:"status,omitzero"`
	Answer     string         `json:"answer,omitzero"`
	Reply      event.Sequence `json:"reply,omitzero"`
	At         moment         `json:"at"` // when the outcome was known
	MS         float64        `json:"ms"` // from the request to the answer
}

func (d *Delivery) appendTo(b []byte, _ *lines) []byte {
	return appendMessage(b, "delivered", deliveredMessage{
		d.Subscriber, d.Sequence, d.Attempt, d.Outcome, d.Status, valid(d.Answer), d.Reply, moment(d.Began.Add(d.Took)), milliseconds(d.Took),
	})
}

// changed is a subscriber whose state is another.
type changed struct {
	subscriber, state, why string
	at                     time.Time
}

func (c *changed) appendTo(b []byte, _ *lines) []byte {
	return appendMessage(b, "state", struct {
		Subscriber string `json:"subscriber"`
		State      string `json:"state"`
		Why        string `json:"why,omitzero"`
		At         moment `json:"at"`
	}{c.subscriber, c.state, valid(c.why), moment(c.at)})
}

// followed is something that a follower did, and how it is doing since.
type followed struct {
	who            Client
	did            string // asked, sent, passed or left; "" where it only says how things are
	position, sent event.Sequence
	at             time.Time
	requests       int
	types          string
}

func (f *followed) appendTo(b []byte, _ *lines) []byte {
	return appendMessage(b, "followed", struct {
		Name     string         `json:"name"`
		Copy     string         `json:"copy,omitzero"`
		Address  string         `json:"address"`
		Did      string         `json:"did,omitzero"`
		Position event.Sequence `json:"position"`
		Sent     event.Sequence `json:"sent"`
		Requests int            `json:"requests"`        // under way
		Types    []string       `json:"types,omitempty"` // that it wants; none: all
		At       moment         `json:"at"`
	}{f.who.Name, f.who.Copy, f.who.Address, f.did, f.position, f.sent, f.requests, strings.FieldsFunc(valid(f.types), isComma), moment(f.at)})
}

func isComma(c rune) bool { return c == ',' }
