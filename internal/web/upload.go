package web

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"time"
)

// upload is a request's body on its way in.
type upload struct {
	request *http.Request
	body    io.Reader // ends with a *http.MaxBytesError after limit
	limit   int64
	rc      *http.ResponseController
	w       http.ResponseWriter
	answer  *answer
}

func newUpload(w http.ResponseWriter, r *http.Request, limit int64) *upload {
	return &upload{r, http.MaxBytesReader(ofServer(w), r.Body, limit), limit, http.NewResponseController(w), w, answerOf(w)}
}

// ofServer returns the server's own writer beneath w. MaxBytesReader tells that
// one of a body that is too large, and the server then waits before it closes the
// connection, so that a client who is still writing hears the answer.
func ofServer(w http.ResponseWriter) http.ResponseWriter {
	for {
		wrapped, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			return w
		}
		w = wrapped.Unwrap()
	}
}

// read returns the body, in buf if it has room. Memory is reserved before it is
// there. Its errors are problems: 413, 408, 503, 400.
func (u *upload) read(buf []byte) (body []byte, err error) {
	length := u.request.ContentLength
	switch {
	case length > u.limit && strings.EqualFold(u.request.Header.Get("Expect"), "100-continue"): // its client waits to hear this
		err = &http.MaxBytesError{Limit: u.limit}
	case length > u.limit: // it is read all the same, so that the answer is heard
		_, err = io.Copy(io.Discard, u.body)
	case length >= 0:
		if body, err = u.grow(buf[:0], length); err == nil {
			body, err = u.fill(body[:length])
		}
	default:
		for body = buf[:0]; err == nil; {
			if len(body) == cap(body) {
				if body, err = u.grow(body, min(max(2*int64(len(body)), smallBytes), u.limit+1)); err != nil {
					break
				}
			}
			body, err = u.next(body)
		}
		if err == io.EOF {
			err = nil
		}
	}
	return body, u.problem(err)
}

// grow returns body with room for length bytes in all.
func (u *upload) grow(body []byte, length int64) ([]byte, error) {
	room := max(length, int64(cap(body)))
	if err := Reserve(u.w, u.request, room); err != nil {
		return nil, err
	}
	if int64(cap(body)) < length {
		body = append(make([]byte, 0, length), body...)
	}
	return body, nil
}

// fill reads a body that is as long as it was announced.
func (u *upload) fill(body []byte) ([]byte, error) {
	for n := 0; n < len(body); {
		slice := body[n:min(n+sliceBytes, len(body))]
		if err := u.slice(func() error { _, err := io.ReadFull(u.body, slice); return err }); err != nil {
			return nil, err
		}
		n += len(slice)
	}
	return body, nil
}

// next reads up to a slice more into the room that body has.
func (u *upload) next(body []byte) ([]byte, error) {
	free := body[len(body):min(len(body)+sliceBytes, cap(body))]
	n := 0
	err := u.slice(func() (err error) { n, err = io.ReadFull(u.body, free); return err })
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = io.EOF
	}
	return body[:len(body)+n], err
}

var errSlowUpload = errors.New("the body came slowly while memory was short, and was cut off")

func (u *upload) slice(read func() error) error {
	if !u.answer.holder.begin(func() { u.rc.SetReadDeadline(past) }) {
		return errSlowUpload
	}
	began := time.Now()
	err := read()
	u.answer.sending += time.Since(began)
	if !u.answer.holder.end() {
		return errSlowUpload
	}
	return err
}

// problem says why a body did not arrive.
func (u *upload) problem(err error) error {
	var tooLarge *http.MaxBytesError
	var own *Problem
	switch {
	case err == nil || errors.As(err, &own):
		return err
	case errors.As(err, &tooLarge):
		return NewProblem(http.StatusRequestEntityTooLarge, "The body is too large: it may have at most %d bytes.", u.limit)
	case err == errSlowUpload:
		p := NewProblem(http.StatusRequestTimeout, "The body came too slowly, and others needed the room. Send it again.")
		p.Cause = err
		return p
	}
	p := NewProblem(http.StatusBadRequest, "The body did not arrive whole.")
	p.Cause = err
	return p
}
