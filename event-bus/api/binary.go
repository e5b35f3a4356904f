package api

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"miniblog/internal/event"
	"miniblog/internal/web"
	"miniblog/internal/wire"
)

// isBinary tells whether a request's headers are those of an event in
// CloudEvents' binary mode.
func isBinary(h http.Header) bool { return h.Get("Ce-Specversion") != "" || h.Get("Ce-Type") != "" }

// readBinary reads an event in CloudEvents' binary mode (HTTP protocol binding
// 1.0.2, section 3.1): attributes in headers, the data as body.
func readBinary(w http.ResponseWriter, r *http.Request) (e event.Event, err error) {
	body, mediaType, err := web.ReadBody(w, r, wire.MaxEvent)
	if err != nil {
		return e, err
	}
	extensions := map[string]string{}
	for name, values := range r.Header {
		attribute, ok := strings.CutPrefix(strings.ToLower(name), "ce-")
		if !ok {
			continue
		}
		value, err := url.PathUnescape(unquote(values[0]))
		if err != nil || !utf8.ValidString(value) {
			return e, web.NewProblem(http.StatusBadRequest, "The header %q is not percent-encoded UTF-8.", name)
		}
		switch attribute {
		case "specversion":
			e.SpecVersion = value
		case "id":
			e.ID = value
		case "source":
			e.Source = value
		case "type":
			e.Type = value
		case "time":
			e.Time = value
		case "subject":
			e.Subject = value
		case "sequence", "datacontenttype", "data", "data_base64": // said elsewhere
		default:
			extensions[attribute] = value
		}
	}
	if mediaType != "" && mediaType != wire.JSON && len(body) > 0 {
		extensions["datacontenttype"] = strings.ToValidUTF8(r.Header.Get("Content-Type"), "")
	}
	if err := putData(&e, extensions, body, mediaType); err != nil {
		return e, err
	}
	if len(extensions) > 0 {
		e.Extensions, err = json.Marshal(extensions, json.Deterministic(true))
	}
	return e, err
}

// unquote returns the text of a header's quoted string (RFC 9110, section
// 5.6.4), and any other value as it is.
func unquote(value string) string {
	if len(value) < 2 || value[0] != '"' || value[len(value)-1] != '"' {
		return value
	}
	text := make([]byte, 0, len(value))
	for i := 1; i < len(value)-1; i++ {
		if value[i] == '\\' && i < len(value)-2 {
			i++
		}
		text = append(text, value[i])
	}
	return string(text)
}

// putData puts a body into e as the JSON event format has it (section 3.1):
// JSON as it is, text as a string, anything else in base64.
func putData(e *event.Event, extensions map[string]string, body []byte, mediaType string) (err error) {
	switch {
	case len(body) == 0:
	case mediaType == "" || mediaType == wire.JSON || strings.HasSuffix(mediaType, "+json"):
		if !jsontext.Value(body).IsValid() {
			return web.NewProblem(http.StatusBadRequest, "The body is not valid JSON in UTF-8.")
		}
		e.Data = body
	case strings.HasPrefix(mediaType, "text/") && utf8.Valid(body):
		e.Data, err = json.Marshal(string(body))
	default:
		extensions["data_base64"] = base64.StdEncoding.EncodeToString(body)
	}
	return err
}
