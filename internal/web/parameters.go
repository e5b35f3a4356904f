package web

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// LinkNext tells a reader where the next page is, as RFC 8288 writes it:
// relative to this address, so that it also holds behind a proxy.
func LinkNext(h http.Header, u *url.URL, limit int, param, value string) {
	query := url.Values{"limit": {strconv.Itoa(limit)}, param: {value}}
	h.Set("Link", "<"+u.EscapedPath()+"?"+query.Encode()+`>; rel="next"`)
}

// ReadCommand reads a command: a JSON object whose member field is a text of at
// most most characters, and its Idempotency-Key, "" if it has none. Its errors
// are problems: 415, 413, 400, 422.
func ReadCommand(w http.ResponseWriter, r *http.Request, field string, most int) (text, key string, err error) {
	var members map[string]jsontext.Value
	if err := ReadJSON(w, r, &members); err != nil {
		return "", "", err
	}
	if value := members[field]; value != nil && value.Kind() != 'n' {
		if json.Unmarshal(value, &text) != nil {
			return "", "", wrongType(field, value.Kind())
		}
	}
	if text, err = Text(field, text, most); err != nil {
		return "", "", err
	}
	key, err = Key(r)
	return text, key, err
}

// Text checks a string that a person typed: trimmed, of 1 to most characters,
// without NUL. Its error is the 422 for field.
func Text(field string, value string, most int) (string, error) {
	value = strings.Clone(strings.TrimSpace(value)) // a megabyte of spaces must not stay
	switch n := utf8.RuneCountInString(value); {
	case n == 0:
		return "", Invalid(field, "The %s is missing: write at least one character.", field)
	case n > most:
		return "", Invalid(field, "The %s is too long: it has %d characters, and at most %d are allowed.", field, n, most)
	case strings.ContainsRune(value, 0):
		return "", Invalid(field, "The %s contains a NUL character, which is not allowed.", field)
	}
	return value, nil
}

// Key returns the Idempotency-Key of a request, "" if it has none. Its error
// is a 422.
func Key(r *http.Request) (string, error) {
	key := r.Header.Get("Idempotency-Key")
	if len(key) > 255 || !utf8.ValidString(key) {
		return "", Invalid("Idempotency-Key", "The Idempotency-Key must be UTF-8 text of at most 255 bytes.")
	}
	return key, nil
}

// Limit returns the query parameter limit: def if it is missing, from 1 to
// most. Its error is a 422.
func Limit(query url.Values, def, most int) (int, error) {
	text := query.Get("limit")
	if text == "" {
		return def, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > most {
		return 0, Invalid("limit", "The limit must be a whole number from 1 to %d.", most)
	}
	return n, nil
}
