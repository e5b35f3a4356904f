package web

import (
	"errors"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"

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
	if err := PlainBody(w, r); err != nil {
		return nil, "", err
	}
	body, err = newUpload(w, r, limit).read(buf)
	return body, mediaType, err
}

// PlainBody refuses a body that is compressed, which might become any size, with 415.
func PlainBody(w http.ResponseWriter, r *http.Request) error {
	encoding := r.Header.Get("Content-Encoding")
	if encoding == "" || strings.EqualFold(encoding, "identity") {
		return nil
	}
	w.Header().Set("Accept-Encoding", "identity") // as RFC 9110 has it
	return NewProblem(http.StatusUnsupportedMediaType, "Send the body as it is: the Content-Encoding %.40q is not taken.", encoding)
}

// ReadJSON decodes the body into v, a pointer to a struct. Its errors are
// problems: 415, 413, 400.
func ReadJSON(w http.ResponseWriter, r *http.Request, v any) error {
	body, _, err := ReadBody(w, r, MaxBody, "application/json")
	if err != nil {
		return err
	}
	defer holderOf(w).release() // what is decoded is v's own
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
	h := holderOf(w)
	h.hold(int64(cap(body)))
	write(w, h, status, contentType, body)
}

// write sends a body that was counted.
func write(w http.ResponseWriter, h *holder, status int, contentType string, body []byte) {
	header := w.Header()
	header.Set("Content-Type", contentType)
	header.Set("Content-Length", strconv.Itoa(len(body)))
	if status >= 400 {
		answerOf(w).ours = true // a page for people
	}
	w.WriteHeader(status)
	if len(body) <= smallBytes {
		w.Write(body)
		return
	}
	rc := http.NewResponseController(w)
	for slice := range slices.Chunk(body, sliceBytes) {
		if _, err := writeSlice(w, rc, h, slice); err != nil {
			return // a reader that is gone needs no answer
		}
	}
}

// Shared is a body that many readers may be taking at once. It is counted once.
type Shared struct {
	Body []byte // does not change

	mu      sync.Mutex
	readers int
}

// Write sends the body with 200.
func (s *Shared) Write(w http.ResponseWriter, contentType string) {
	h := holderOf(w)
	s.count(h.memory, 1)
	defer s.count(h.memory, -1)
	h.hold(0) // what was reserved to make it
	h.shares = true
	defer func() { h.shares = false }()
	write(w, h, http.StatusOK, contentType, s.Body)
}

// count counts readers; the body is held from the first to the last.
func (s *Shared) count(m *memory, readers int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.readers
	s.readers += readers
	switch {
	case before == 0:
		m.add(int64(cap(s.Body)))
	case s.readers == 0:
		m.add(-int64(cap(s.Body)))
	}
}
