// Package event holds the envelope that every service exchanges and the four
// event types of the blog.
//
// Its law: an event is a valid CloudEvents 1.0 JSON event, and what this
// package does not know passes through it untouched.
package event

import (
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/uuid"
)

// MaxID is the longest id, type, source or subject that is taken in, in bytes.
const MaxID = 128

// MaxDepth is how many levels the JSON of an event may have, its envelope being
// the first. Every decoder takes that many, also within a batch or a dead letter.
const MaxDepth = 1000

// The types of events that the blog itself publishes.
const (
	PostCreated      = "PostCreated"      // data: Post
	CommentCreated   = "CommentCreated"   // data: Comment, pending
	CommentModerated = "CommentModerated" // data: Comment, decided by moderation
	CommentUpdated   = "CommentUpdated"   // data: Comment, as readers see it
)

// Event is the envelope. Sequence is zero until the bus has stored the event.
type Event struct {
	SpecVersion string         `json:"specversion"`
	Sequence    Sequence       `json:"sequence,omitzero"`
	ID          string         `json:"id"`
	Source      string         `json:"source"`
	Type        string         `json:"type"`
	Time        string         `json:"time,omitzero"` // RFC 3339
	Subject     string         `json:"subject,omitzero"`
	Traceparent string         `json:"traceparent,omitzero"` // W3C trace context, as CloudEvents'
	Tracestate  string         `json:"tracestate,omitzero"`  // distributed tracing extension has it
	Data        jsontext.Value `json:"data,omitzero"`
	Extensions  jsontext.Value `json:",embed"` // attributes this package does not know
}

// TooDeep tells whether e has more than MaxDepth levels.
func (e *Event) TooDeep() bool { return deeper(e.Extensions, MaxDepth) || deeper(e.Data, MaxDepth-1) }

// Post is the data of PostCreated.
type Post struct {
	ID    string `json:"id"`
	Title string `json:"title"`
}

// Comment is the data of the three comment events.
type Comment struct {
	ID      string `json:"id"`
	Content string `json:"content"`
	PostID  string `json:"postId"`
	Status  Status `json:"status"`
}

// Status says what moderation thinks of a comment.
type Status string

// A comment starts pending; moderation decides once.
const (
	Pending  Status = "pending"
	Approved Status = "approved"
	Rejected Status = "rejected"
)

// Decided tells whether s is moderation's answer.
func (s Status) Decided() bool { return s == Approved || s == Rejected }

// Readable is what a reader may see of content: only approved text.
func (s Status) Readable(content string) string {
	if s == Approved {
		return content
	}
	return ""
}

// New makes an event about subject. data must be one of this package's types
// or anything else that encodes as JSON; one that does not is a programming
// error and panics.
func New(id, source, typ, subject string, data any) Event {
	raw, err := json.Marshal(data)
	if err != nil {
		panic("event: data of " + typ + " does not encode: " + err.Error())
	}
	return Event{
		SpecVersion: "1.0",
		ID:          id,
		Source:      source,
		Type:        typ,
		Time:        Time(time.Now()),
		Subject:     subject,
		Data:        raw,
	}
}

// Time writes t as events have it: in UTC, to the millisecond, as browsers do.
// Finer digits are noise, and noise does not compress.
func Time(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// NewID returns a UUID version 7: unique, and sorting by time.
func NewID() string { return uuid.Must(uuid.NewV7()).String() }

// namespace is the root of every derived id of this project.
var namespace = uuid.NewSHA1(uuid.NameSpaceDNS, []byte("posts.com"))

// DeriveID returns the UUID version 5 (RFC 9562, section 5.5) that belongs to
// parts, in order. The same parts give the same id on every replica and at
// every attempt, which is what makes a retry harmless.
func DeriveID(parts ...string) string {
	name := make([]byte, 0, 128)
	for _, part := range parts {
		name = append(name, part...)
		name = append(name, 0) // "a","bc" is not "ab","c"
	}
	return uuid.NewSHA1(namespace, name).String()
}

// Reaction makes the event that answers cause. Its id is derived from cause,
// so that a cause delivered twice has one answer: the id of the cause and what
// became of it. That says where an event comes from, and next to the cause it
// takes no room on disk, where the 122 bits of a hash cannot be compressed. It
// belongs to the trace of its cause.
func Reaction(cause Event, source, typ, subject string, data Comment) Event {
	id := cause.ID + "/" + typ
	switch {
	case cause.ID == "": // a publisher like the course's sends no id: the comment's stands in
		id = DeriveID(typ, cause.Type+" "+data.ID)
	case len(id) > MaxID:
		id = DeriveID(typ, cause.ID)
	}
	e := New(id, source, typ, subject, data)
	e.Traceparent, e.Tracestate = cause.Traceparent, cause.Tracestate
	return e
}
