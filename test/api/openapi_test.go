package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"miniblog/test/harness"
	"miniblog/test/openapi"
)

const document = "docs/api/openapi.yaml"

// description returns the document, with every schema compiled and every example
// held to its schema.
func description(t *testing.T) *openapi.Description {
	t.Helper()
	return harness.Must(harness.Description())(t)
}

// sample turns a path of the document into one that can be asked for.
func sample(path string) string { return regexp.MustCompile(`\{[^}]+\}`).ReplaceAllString(path, "x") }

func TestEveryRouteIsDescribedAndNoOther(t *testing.T) {
	described := map[string][]*openapi.Operation{}
	for _, o := range description(t).Operations {
		for _, service := range o.Services {
			described[service] = append(described[service], o)
		}
	}
	blog := harness.NewBlog(t, harness.Config{})
	for _, p := range blog.Processes() {
		p.Setenv("LOG_LEVEL", "debug")
		p.Setenv("LOG_FORMAT", "json")
		p.Start()
	}
	for _, p := range blog.Processes() {
		compare(t, p.Name, registered(t, p), described[p.Name])
		delete(described, p.Name)
	}
	for service := range described {
		t.Errorf("%s names a service that does not exist: %s", document, service)
	}
}

// registered returns the patterns that a process says it answers.
func registered(t *testing.T, p *harness.Process) (patterns []string) {
	t.Helper()
	harness.Eventually(t, 20*time.Second, func() error {
		for line := range bytes.Lines(p.Output()) {
			var record struct {
				Msg      string
				Patterns []string
			}
			if json.Unmarshal(line, &record) == nil && record.Msg == "routes" {
				patterns = record.Patterns
				return nil
			}
		}
		return fmt.Errorf("%s has not logged its routes", p.Name)
	})
	return patterns
}

// compare lets the patterns choose among themselves who answers each operation,
// as the service does.
func compare(t *testing.T, service string, patterns []string, operations []*openapi.Operation) {
	t.Helper()
	mux, used := http.NewServeMux(), map[string]bool{}
	for _, pattern := range patterns {
		mux.Handle(pattern, http.NotFoundHandler())
	}
	for _, o := range operations {
		_, pattern := mux.Handler(httptest.NewRequest(o.Method, sample(o.Path), nil))
		if !strings.Contains(pattern, " ") { // none, or one that refuses
			t.Errorf("%s has no route for %s %s, which %s describes in %s: take it out there, or add the route to %s/", service, o.Method, o.Path, document, o.Where, service)
		}
		used[pattern] = true
	}
	for _, pattern := range patterns {
		method, path, _ := strings.Cut(pattern, " ")
		if path == "" { // for methods that nobody else answers: it refuses
			used[pattern] = slices.ContainsFunc(operations, func(o *openapi.Operation) bool { return o.Path == method })
		}
		if !used[pattern] {
			t.Errorf("%s has the route %q, which is not described: add it to %s, with %s among its servers", service, pattern, document, service)
		}
	}
}

func TestAnswersThatAreNotDescribedAreNoticed(t *testing.T) {
	d := description(t)
	problem := `{"type":"about:blank","title":"T","status":422,"detail":"D.","field":"title"}`
	for _, c := range []struct {
		name, service, method, path string
		status                      int
		contentType, body, want     string
	}{
		{"what is right", "posts", "GET", "/posts", 200, "application/json", `{"p":{"id":"p","title":"T"}}`, ""},
		{"a problem that is right", "posts", "POST", "/posts/create", 422, "application/problem+json", problem, ""},
		{"a path of another service", "posts", "GET", "/subscribers", 200, "application/json", `[]`, "add the operation below paths"},
		{"a method", "posts", "DELETE", "/posts", 200, "application/json", `{}`, "add the operation below paths"},
		{"a status", "posts", "POST", "/posts/create", 418, "application/problem+json", problem, "add it to paths./posts/create.post.responses"},
		{"a content type", "posts", "GET", "/posts", 200, "text/plain", `{}`, "Content-Type text/plain is not described"},
		{"a body of another shape", "posts", "GET", "/posts", 200, "application/json", `{"p":{"id":"p"}}`, "missing property 'title'"},
		{"the end of a long body", "posts", "GET", "/posts", 200, "application/json", `{"p":{"id":"p","title":"` + strings.Repeat("T", 1<<20) + `"},"q":{"id":"q"}}`, "missing property 'title'"},
		{"a body that is not JSON", "posts", "GET", "/posts", 200, "application/json", `{`, "not JSON"},
		{"a problem without its field", "posts", "POST", "/posts/create", 422, "application/problem+json", strings.Replace(problem, `,"field":"title"`, "", 1), "missing property 'field'"},
		{"a problem that tells too much", "posts", "POST", "/posts/create", 422, "application/problem+json", strings.Replace(problem, "{", `{"stack":"main.go:1",`, 1), "'stack' not allowed"},
		{"a header that is missing", "event-bus", "GET", "/events", 200, "application/json", `[]`, "the header Event-"},
		{"text of a comment that is not approved", "comments", "GET", "/posts/p/comments", 200, "application/json", `[{"id":"c","content":"secret","status":"rejected"}]`, "value must be ''"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := d.Check(c.service, httptest.NewRequest(c.method, c.path, nil),
				openapi.Answer{Status: c.status, Header: http.Header{"Content-Type": {c.contentType}}, Body: []byte(c.body)})
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("the error is %v; it should say %q", err, c.want)
			}
		})
	}
	live, ok := httptest.NewRequest("GET", "/posts/live", nil), openapi.Answer{Status: 200, Header: http.Header{"Content-Type": {"text/event-stream"}}}
	for data, right := range map[string]bool{`{"id":"p","title":"T"}`: true, `{"id":"p"}`: false, `{`: false} {
		item := map[string]any{"id": "00000000000000000001", "event": "post", "data": data}
		if err := d.CheckItem("query", live, ok, item); (err == nil) != right {
			t.Errorf("an event of the stream with the data %s: %v", data, err)
		}
	}
}
