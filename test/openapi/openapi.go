// Package openapi reads an OpenAPI document and holds what services answer to it.
//
// Its law: an answer that the document does not describe is an error, which says
// where in the document it is missing.
package openapi

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"sigs.k8s.io/yaml"
)

// Description is a document. It does not change, and may be used concurrently.
type Description struct {
	// Operations are in the order of their paths.
	Operations []*Operation

	file   string
	routes map[string]*http.ServeMux // by service; its patterns are those of patterns
	byMux  map[string]*Operation     // by service and pattern
}

// Operation is a method of a path.
type Operation struct {
	ID       string
	Method   string
	Path     string   // without its fragment
	Services []string // the descriptions of its servers
	Where    string   // paths./posts#posts.get

	statuses map[string]*response
}

// Pattern returns the operation as http.ServeMux has it.
func (o *Operation) Pattern() string {
	pattern := o.Method + " " + o.Path
	if strings.HasSuffix(pattern, "/") {
		pattern += "{$}"
	}
	return pattern
}

// response is one status of an operation.
type response struct {
	headers map[string]header
	media   map[string]media // by type; "*/*" is any
}

type header struct {
	required bool
	schema   *jsonschema.Schema
}

type media struct {
	schema *jsonschema.Schema
	item   *jsonschema.Schema // of a line, or of an event of a stream
}

// Load reads a document and checks the examples in it. Files that it refers to
// are found beside it.
func Load(file string) (*Description, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	value, err := Value(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	path, err := filepath.Abs(file)
	if err != nil {
		return nil, err
	}
	d := &Description{file: file, routes: map[string]*http.ServeMux{}, byMux: map[string]*Operation{}}
	r := &reader{root: value, url: "file://" + filepath.ToSlash(path), compiler: jsonschema.NewCompiler()}
	r.compiler.AssertFormat()
	r.compiler.AssertContent()
	if err := r.compiler.AddResource(r.url, value); err != nil {
		return nil, err
	}
	document := node{r, "", value}
	for key, item := range document.at("paths").members() {
		for _, method := range []string{"get", "head", "post", "put", "patch", "delete"} {
			if operation := item.at(method); operation.value != nil {
				if err := d.add(r, key, method, item, operation); err != nil {
					return nil, err
				}
			}
		}
	}
	return d, errors.Join(r.errs...)
}

// Value decodes YAML, or JSON, as schemas want it: numbers keep their digits.
func Value(text []byte) (any, error) {
	text, err := yaml.YAMLToJSONStrict(text)
	if err != nil {
		return nil, err
	}
	return jsonschema.UnmarshalJSON(bytes.NewReader(text))
}

func (d *Description) add(r *reader, key, method string, item, operation node) error {
	path, _, _ := strings.Cut(key, "#")
	o := &Operation{
		ID: operation.at("operationId").text(), Method: strings.ToUpper(method), Path: path,
		Where: "paths." + key + "." + method, statuses: map[string]*response{},
	}
	for _, server := range item.at("servers").members() {
		o.Services = append(o.Services, server.at("description").text())
	}
	slices.Sort(o.Services)
	if len(o.Services) == 0 || o.ID == "" || slices.Contains(o.Services, "") {
		return fmt.Errorf("%s: %s has no operationId, or its path has no servers that are described by the names of their services", d.file, o.Where)
	}
	r.checkExamples(operation.at("requestBody", "content"))
	for status, n := range operation.at("responses").members() {
		o.statuses[status] = r.response(n)
	}
	d.Operations = append(d.Operations, o)
	for _, service := range o.Services {
		if d.routes[service] == nil {
			d.routes[service] = http.NewServeMux()
		}
		if other := d.byMux[service+" "+o.Pattern()]; other != nil {
			return fmt.Errorf("%s: %s and %s are both %s of %s", d.file, other.Where, o.Where, o.Pattern(), service)
		}
		d.byMux[service+" "+o.Pattern()] = o
		d.routes[service].Handle(o.Pattern(), http.NotFoundHandler())
	}
	return nil
}

// Find returns the operation that answers r, nil if none is described.
func (d *Description) Find(service string, r *http.Request) *Operation {
	mux := d.routes[service]
	if mux == nil {
		return nil
	}
	_, pattern := mux.Handler(r)
	return d.byMux[service+" "+pattern]
}

// reader compiles the schemas of a document.
type reader struct {
	root     any
	url      string
	compiler *jsonschema.Compiler
	errs     []error
}

func (r *reader) fail(n node, err error) {
	r.errs = append(r.errs, fmt.Errorf("#%s: %w", n.pointer, err))
}

func (r *reader) response(n node) *response {
	resp := &response{headers: map[string]header{}, media: map[string]media{}}
	for name, h := range n.at("headers").members() {
		required, _ := h.at("required").value.(bool)
		resp.headers[name] = header{required, r.schema(h.at("schema"))}
	}
	content := n.at("content")
	r.checkExamples(content)
	for name, m := range content.members() {
		resp.media[name] = media{r.schema(m.at("schema")), r.schema(m.at("x-itemSchema"))}
	}
	return resp
}

// checkExamples holds the examples of content to its schemas.
func (r *reader) checkExamples(content node) {
	for _, m := range content.members() {
		schema := r.schema(m.at("schema"))
		examples := []node{m.at("example")}
		for _, e := range m.at("examples").members() {
			examples = append(examples, e.at("value"))
		}
		for _, e := range examples {
			if e.value != nil && schema != nil {
				if err := schema.Validate(e.value); err != nil {
					r.fail(e, err)
				}
			}
		}
	}
}

// schema compiles what n holds; nil if it holds nothing.
func (r *reader) schema(n node) *jsonschema.Schema {
	if n.value == nil {
		return nil
	}
	s, err := r.compiler.Compile(r.url + "#" + strings.NewReplacer("{", "%7B", "}", "%7D", "#", "%23", "$", "%24").Replace(n.pointer))
	if err != nil {
		r.fail(n, err)
	}
	return s
}

// node is a place in the document; its value is nil if there is nothing.
type node struct {
	r       *reader
	pointer string // RFC 6901
	value   any
}

var escape = strings.NewReplacer("~", "~0", "/", "~1")

// at returns the member of a member of n. A reference within the document,
// except where it is a schema's, leads to what it means.
func (n node) at(keys ...string) node {
	for _, key := range keys {
		object, _ := n.value.(map[string]any)
		n = node{n.r, n.pointer + "/" + escape.Replace(key), object[key]}.resolved(key)
	}
	return n
}

func (n node) resolved(key string) node {
	object, _ := n.value.(map[string]any)
	ref, ok := object["$ref"].(string)
	if !ok || key == "schema" || key == "x-itemSchema" {
		return n
	}
	target, ok := strings.CutPrefix(ref, "#/")
	if ok {
		n = node{n.r, "", n.r.root}.at(strings.Split(target, "/")...)
	}
	if !ok || n.value == nil {
		n.r.fail(n, fmt.Errorf("there is no %s in the document", ref))
	}
	return n
}

// members returns the members of an object or an array, sorted by their names.
func (n node) members() func(yield func(string, node) bool) {
	return func(yield func(string, node) bool) {
		switch value := n.value.(type) {
		case map[string]any:
			for _, key := range slices.Sorted(maps.Keys(value)) {
				if !yield(key, n.at(key)) {
					return
				}
			}
		case []any:
			for i, v := range value {
				if !yield(fmt.Sprint(i), node{n.r, fmt.Sprintf("%s/%d", n.pointer, i), v}) {
					return
				}
			}
		}
	}
}

// text returns a string, "" if n is none.
func (n node) text() string { s, _ := n.value.(string); return s }
