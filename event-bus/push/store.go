package push

import (
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"miniblog/internal/event"
)

// Store keeps what must not be lost of one subscriber: its position and its dead
// letters, one an event. What its methods have returned nil for survives any
// crash. One goroutine at a time uses it.
//
// There are two: files, for a bus that is alone, and JetStream KV, where several
// processes push the same log.
type Store interface {
	// Load returns the position; found is false if there is none yet. It calls
	// keep for each dead letter, without its event. It is called first, and once.
	Load(keep func(DeadLetter)) (p Position, found bool, err error)
	Save(Position) error
	// Add stores a dead letter, in place of an earlier one of its event.
	Add(DeadLetter) error
	Remove(event.Sequence) error
	// Letter returns a dead letter. It may leave out an event that is in the log.
	Letter(event.Sequence) (DeadLetter, error)
	// PutAside takes all dead letters out, as they are another log's: their
	// sequences mean nothing in this one.
	PutAside(log string) error
}

// Position is how far a subscriber has come.
type Position struct {
	Log     string         `json:"log"`    // the id of the log that Cursor is a position in
	Cursor  event.Sequence `json:"cursor"` // everything up to here was delivered or is a dead letter
	Stopped bool           `json:"stopped,omitzero"`

	// LastDelivered is an event that the subscriber took, 0 if none is known.
	LastDelivered event.Sequence `json:"lastDelivered,omitzero"`
}

// DeadLetter is an event that was given up.
//
// As JSON its event is the bytes that the log has, put behind the other members
// as they are: it may nest as deep as JSON allows, and then the whole nests
// deeper. So the whole is never decoded.
type DeadLetter struct {
	Sequence event.Sequence `json:"sequence"`
	ID       string         `json:"id"`
	Time     time.Time      `json:"time"`
	Attempts int            `json:"attempts"`
	Reason   string         `json:"reason,omitzero"` // the status of the last answer, or a word: no_answer, cut_off, bad_reply
	Status   int            `json:"status,omitzero"` // of the last answer
	Answer   string         `json:"answer"`          // its beginning, or why there was none
	Event    jsontext.Value `json:"event,omitzero"`
}

// answerBytes is how much of an answer is kept.
const answerBytes = 512

// reasonOf returns the reason of a letter by its last answer.
func reasonOf(letter DeadLetter) string {
	switch {
	case letter.Status/100 == 2:
		return outcomes[badReply]
	case letter.Status != 0:
		return strconv.Itoa(letter.Status)
	case strings.HasPrefix(letter.Answer, noAnswer):
		return outcomes[silent]
	default:
		return outcomes[cut]
	}
}
