package web

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// MaxBody is the most that a request's body may hold, in bytes.
const MaxBody = 1 << 20

// ReadBody returns the body of at most limit bytes and its content type, which
// must be one of accepted, if any are given. Its errors are problems: 415, 413,
// 400.
func ReadBody(w http.ResponseWriter, r *http.Request, limit int64, accepted ...string) (body []byte, mediaType string, err error) {
	return ReadBodyInto(nil, w, r, limit, accepted...)
}

// ReadBodyInto is ReadBody that returns the body in buf, if it has room.
func ReadBodyInto(buf []byte, w http.ResponseWriter, r *http.Request, limit int64, accepted ...string) (body []byte, mediaType string, err error) {
	mediaType, _, err = mime.ParseMediaType(r.Header.Get("Content-Type"))
	known := len(accepted) == 0
	for _, a := range accepted {
		known = known || (err == nil && mediaType == a)
	}
	if !known {
		return nil, "", NewProblem(http.StatusUnsupportedMediaType,
			"Send the body with the header \"Content-Type: %s\".", strings.Join(accepted, "\" or \""))
	}
	body, err = readAll(buf, http.MaxBytesReader(w, r.Body, limit), r.ContentLength, limit)
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return nil, "", NewProblem(http.StatusRequestEntityTooLarge, "The body is too large: it may have at most %d bytes.", limit)
	}
	if err != nil {
		p := NewProblem(http.StatusBadRequest, "The body did not arrive whole.")
		p.Cause = err
		return nil, "", p
	}
	return body, mediaType, nil
}

// readAll is io.ReadAll that believes an honest Content-Length.
func readAll(buf []byte, r io.Reader, length, limit int64) ([]byte, error) {
	if length < 0 || length > limit {
		return io.ReadAll(r)
	}
	if int64(cap(buf)) < length {
		buf = make([]byte, length)
	}
	n, err := io.ReadFull(r, buf[:length])
	return buf[:n], err
}

// ReadJSON decodes the body into v, a pointer to a struct. Its errors are
// problems: 415, 413, 400.
func ReadJSON(w http.ResponseWriter, r *http.Request, v any) error {
	body, _, err := ReadBody(w, r, MaxBody, "application/json")
	if err != nil {
		return err
	}
	return DecodeJSON(body, v)
}

// DecodeJSON decodes body into v; what does not fit is a 400 that says where. A
// value that decodes itself may return another problem.
func DecodeJSON(body []byte, v any) error {
	err := json.Unmarshal(body, v)
	if err == nil {
		if jsontext.Value(body).Kind() == 'n' {
			return NewProblem(http.StatusBadRequest, "The body must not be null.")
		}
		return nil
	}
	var own *Problem
	if errors.As(err, &own) {
		return own
	}
	var wrong *json.SemanticError
	if errors.As(err, &wrong) {
		field := strings.TrimPrefix(string(wrong.JSONPointer), "/")
		if field == "" {
			return NewProblem(http.StatusBadRequest, "The body must not be a JSON %s.", kindName(wrong.JSONKind))
		}
		return wrongType(field, wrong.JSONKind)
	}
	return NewProblem(http.StatusBadRequest, "The body is not valid JSON in UTF-8: %.200s.", strings.TrimPrefix(err.Error(), "jsontext: "))
}

func wrongType(field string, kind jsontext.Kind) *Problem {
	p := NewProblem(http.StatusBadRequest, "The field %.40q has the wrong type: a JSON %s does not fit.", field, kindName(kind))
	p.Field = field
	return p
}

func kindName(kind jsontext.Kind) string {
	switch kind {
	case 'n':
		return "null"
	case 't', 'f':
		return "boolean"
	case '"':
		return "string"
	case '0':
		return "number"
	case '[':
		return "array"
	default:
		return "object"
	}
}

// WriteJSON sends v with status. v always encodes: strings that come from
// outside were checked to be UTF-8 on their way in.
func WriteJSON(w http.ResponseWriter, status int, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	WriteBody(w, status, "application/json", append(body, '\n'))
	return nil
}

// WriteBody sends body with status.
func WriteBody(w http.ResponseWriter, status int, contentType string, body []byte) {
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	w.Write(body) // a reader that is gone needs no answer
}
