package web

import (
	"io"
	"net/http"
	"time"
)

// writeLimit is how long one write of a stream may wait for its reader; a
// slower one is disconnected, so that it holds nobody up.
const writeLimit = 30 * time.Second

// Stream is an answer that goes on for as long as its reader wants. It lifts
// the limits that other answers have on their whole length and puts one on
// every write instead.
type Stream struct {
	w  http.ResponseWriter
	rc *http.ResponseController
}

// NewStream prepares w. The request's body must have been read.
func NewStream(w http.ResponseWriter) *Stream {
	s := &Stream{w: w, rc: http.NewResponseController(w)}
	s.rc.SetReadDeadline(time.Time{}) // else the server takes its expiry for a lost connection
	s.Extend()
	return s
}

// Extend gives the next write its full time; Write does so by itself.
func (s *Stream) Extend() { s.rc.SetWriteDeadline(time.Now().Add(writeLimit)) }

// Write implements io.Writer. It blocks until the reader's connection takes p.
func (s *Stream) Write(p []byte) (int, error) {
	s.Extend()
	return s.w.Write(p)
}

// ReadFrom implements io.ReaderFrom: what comes from a file the kernel copies.
// All of src counts as one write.
func (s *Stream) ReadFrom(src io.Reader) (int64, error) {
	s.Extend()
	return io.Copy(s.w, src)
}

// Flush sends what was written so far.
func (s *Stream) Flush() error { return s.rc.Flush() }
