package openapi

import (
	"bytes"
	"fmt"
	"mime"
	"net/http"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// Answer is what a service said.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte // nil where it was not read
}

// Check returns an error unless the document describes that service answers r
// like this, however long the body is. Bodies in an encoding are not looked at.
func (d *Description) Check(service string, r *http.Request, a Answer) error {
	if a.Status/100 == 3 && a.Header.Get("Location") != "" {
		return nil // net/http tidies the path
	}
	o := d.Find(service, r)
	if o == nil {
		return d.checkUndescribed(service, r, a)
	}
	resp := o.statuses[strconv.Itoa(a.Status)]
	if resp == nil {
		return fmt.Errorf("%s answers %d to %s %.200s, which %s does not describe: add it to %s.responses\n%.300s",
			service, a.Status, r.Method, r.URL.Path, d.file, o.Where, a.Body)
	}
	if err := resp.check(r, a); err != nil {
		return fmt.Errorf("%s answers %d to %s %.200s otherwise than %s.responses.%d of %s says: %w\n%.300s",
			service, a.Status, r.Method, r.URL.Path, o.Where, a.Status, d.file, err, a.Body)
	}
	return nil
}

// CheckItem is Check for one line, or one event, of an answer that goes on.
func (d *Description) CheckItem(service string, r *http.Request, a Answer, item any) error {
	o := d.Find(service, r)
	if o == nil || o.statuses[strconv.Itoa(a.Status)] == nil {
		return nil // which Check has said
	}
	m, name, err := o.statuses[strconv.Itoa(a.Status)].mediaOf(a)
	if err == nil && m.item != nil {
		err = m.item.Validate(item)
	}
	if err != nil {
		return fmt.Errorf("%s sends in answer to %s %.200s what %s.responses.%d of %s does not describe as %s: %w\n%.300v",
			service, r.Method, r.URL.Path, o.Where, a.Status, d.file, name, err, item)
	}
	return nil
}

// checkUndescribed accepts refusals alone, and what CORS asks before a request.
func (d *Description) checkUndescribed(service string, r *http.Request, a Answer) error {
	refusal := a.Status == http.StatusNotFound || a.Status == http.StatusMethodNotAllowed || a.Status == http.StatusMisdirectedRequest
	if refusal || r.Method == http.MethodOptions {
		return nil
	}
	return fmt.Errorf("%s answers %d to %s %.200s, which %s does not describe: add the operation below paths\n%.300s",
		service, a.Status, r.Method, r.URL.Path, d.file, a.Body)
}

func (resp *response) check(r *http.Request, a Answer) error {
	for name, h := range resp.headers {
		value := a.Header.Get(name)
		if value == "" {
			if h.required {
				return fmt.Errorf("the header %s is missing", name)
			}
			continue
		}
		if err := h.schema.Validate(value); err != nil {
			return fmt.Errorf("the header %s: %w", name, err)
		}
	}
	if r.Method == http.MethodHead || len(resp.media) == 0 && len(a.Body) == 0 {
		return nil
	}
	m, name, err := resp.mediaOf(a)
	if err != nil || a.Body == nil || a.Header.Get("Content-Encoding") != "" {
		return err
	}
	switch {
	case m.item != nil && name == "application/x-ndjson":
		for line := range bytes.Lines(a.Body) {
			if err := validate(m.item, line); err != nil {
				return err
			}
		}
	case name == "application/json" || strings.HasSuffix(name, "+json"):
		return validate(m.schema, a.Body)
	}
	return nil
}

// mediaOf returns what is said about the content type of a.
func (resp *response) mediaOf(a Answer) (m media, name string, err error) {
	name, _, err = mime.ParseMediaType(a.Header.Get("Content-Type"))
	if err != nil {
		return m, name, fmt.Errorf("the Content-Type %q: %w", a.Header.Get("Content-Type"), err)
	}
	m, known := resp.media[name]
	if !known {
		m, known = resp.media["*/*"]
	}
	if !known {
		return m, name, fmt.Errorf("the Content-Type %s is not described", name)
	}
	return m, name, nil
}

func validate(schema *jsonschema.Schema, text []byte) error {
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return fmt.Errorf("the body is not JSON: %w", err)
	}
	return schema.Validate(value)
}
