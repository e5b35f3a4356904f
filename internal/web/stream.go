package web

import (
	"context"
	"errors"
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
	w      http.ResponseWriter
	rc     *http.ResponseController
	holder *holder
}

// NewStream prepares w. The request's body must have been read.
func NewStream(w http.ResponseWriter) *Stream {
	s := &Stream{w: w, rc: http.NewResponseController(w), holder: holderOf(w)}
	s.rc.SetReadDeadline(time.Time{}) // else the server takes its expiry for a lost connection
	s.Extend()
	return s
}

// Extend gives the next write its full time; Write does so by itself.
func (s *Stream) Extend() { s.rc.SetWriteDeadline(time.Now().Add(writeLimit)) }

// Reserve waits until the stream may hold n bytes of its own. Its error is a
// problem: 503.
func (s *Stream) Reserve(ctx context.Context, n int) error {
	return reserved(ctx, s.holder.reserve(ctx, int64(n)))
}

// Hold says that the stream holds n bytes of its own from now on, beside what
// its readers share. Where memory runs short, a reader who is slow to take a
// slice is cut off.
func (s *Stream) Hold(n int) { s.holder.hold(int64(n)) }

// Write implements io.Writer. It blocks until the reader's connection takes p,
// which is at most a slice.
func (s *Stream) Write(p []byte) (int, error) {
	s.Extend()
	return writeSlice(s.w, s.rc, s.holder, p)
}

// ReadFrom implements io.ReaderFrom: what comes from a file the kernel copies.
// All of src counts as one write.
func (s *Stream) ReadFrom(src io.Reader) (n int64, err error) {
	s.Extend()
	err = whileHeld(s.rc, s.holder, func() (err error) { n, err = io.Copy(s.w, src); return err })
	return n, err
}

// Flush sends what was written so far.
func (s *Stream) Flush() error { return s.rc.Flush() }

var errSlow = errors.New("the reader was slow while memory was short, and was cut off")

// writeSlice writes p, unless memory runs short meanwhile.
func writeSlice(w io.Writer, rc *http.ResponseController, h *holder, p []byte) (n int, err error) {
	err = whileHeld(rc, h, func() (err error) { n, err = w.Write(p); return err })
	return n, err
}

func whileHeld(rc *http.ResponseController, h *holder, write func() error) error {
	if !h.begin(func() { rc.SetWriteDeadline(past) }) {
		return errSlow
	}
	err := write()
	if !h.end() && err == nil {
		err = errSlow
	}
	return err
}

// past is a deadline that is over.
var past = time.Unix(1, 0)
