package console

import (
	"bytes"
	"net/http"
	"sort"
	"time"

	"miniblog/event-bus/eventlog"
	"miniblog/internal/event"
	"miniblog/internal/web"
)

// logNumbers are how the log is doing, beside what /activity says.
type logNumbers struct {
	ID         string         `json:"id"`
	Last       event.Sequence `json:"last"`
	Bytes      int64          `json:"bytes"` // on disk
	Segments   int            `json:"segments"`
	Remembered uint64         `json:"remembered"`     // ids that are stored once
	Begun      string         `json:"begun,omitzero"` // the time of the first event
	Newest     string         `json:"newest,omitzero"`
	LastHour   uint64         `json:"lastHour"` // events, by their own time
	LastDay    uint64         `json:"lastDay"`
}

// describeLog answers with how the log is doing.
func (c *console) describeLog(w http.ResponseWriter, r *http.Request) error {
	n := logNumbers{ID: c.log.ID(), Last: c.log.Last()}
	n.Bytes, n.Segments = c.log.Size()
	n.Remembered = min(uint64(n.Last), eventlog.RememberedIDs)
	if n.Last > 0 {
		n.Begun, n.Newest = c.timeOf(1), c.timeOf(n.Last)
		now := time.Now()
		n.LastHour = c.since(now.Add(-time.Hour), n.Last)
		n.LastDay = c.since(now.Add(-24*time.Hour), n.Last)
	}
	w.Header().Set("Cache-Control", "no-store")
	return web.WriteJSON(w, http.StatusOK, n)
}

// since returns how many events up to last were published after a time. Events
// are stored nearly in the order of their times, so that a few of them tell.
func (c *console) since(t time.Time, last event.Sequence) uint64 {
	text := event.Time(t)
	older := sort.Search(int(last), func(i int) bool { return c.timeOf(event.Sequence(i+1)) > text })
	return uint64(last) - uint64(older)
}

// timeOf returns the time of an event, "" if it cannot be read.
func (c *console) timeOf(sequence event.Sequence) string {
	reader := c.log.Reader(sequence - 1)
	defer reader.Close()
	reader.Want(1)
	b, err := reader.Next()
	if err != nil {
		return ""
	}
	text, _, _ := bytes.Cut(b.Text, []byte("\n"))
	line, _ := event.ReadLine(text)
	return string(line.Time())
}
