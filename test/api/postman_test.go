package api

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"miniblog/test/harness"
	"miniblog/test/openapi"
)

const (
	collectionFile = "../../docs/api/miniblog.postman_collection.json"
	laptopFile     = "../../docs/api/laptop.postman_environment.json"
)

// collection is what matters here of a Postman collection, format 2.1.
type collection struct {
	Item []struct {
		Name string
		Item []struct {
			Name    string
			Event   []struct{ Listen string }
			Request struct {
				Method string
				URL    struct{ Raw string }
			}
			Response []struct {
				Code   int
				Header []keyValue
				Body   string
			}
		}
	}
}

type keyValue struct{ Key, Value string }

func headerOf(list []keyValue) http.Header {
	h := http.Header{}
	for _, kv := range list {
		h.Add(kv.Key, kv.Value)
	}
	return h
}

// decode reads a file of JSON.
func decode(t *testing.T, file string, v any) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(text, v)
	}
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
}

var variable = regexp.MustCompile(`\{\{[^}]+\}\}`)

// TestCollectionHasEveryOperationWithExamplesAndTests holds the collection to
// the document: what is added there is added here.
func TestCollectionHasEveryOperationWithExamplesAndTests(t *testing.T) {
	d, c := description(t), collection{}
	decode(t, collectionFile, &c)
	tried := map[string]bool{}
	for _, folder := range c.Item {
		for _, item := range folder.Item {
			server, path, _ := strings.Cut(strings.TrimPrefix(item.Request.URL.Raw, "{{"), "}}")
			request := httptest.NewRequest(item.Request.Method, variable.ReplaceAllString(path, "x"), nil)
			if o := d.Find(server, request); o != nil {
				tried[o.ID] = true
			}
			tests := 0
			for _, e := range item.Event {
				if e.Listen == "test" {
					tests++
				}
			}
			if tests == 0 || len(item.Response) == 0 {
				t.Errorf("%s, %s: it has %d tests and %d examples, and needs one of each", folder.Name, item.Name, tests, len(item.Response))
			}
			for _, example := range item.Response {
				answer := openapi.Answer{Status: example.Code, Header: headerOf(example.Header), Body: []byte(example.Body)}
				if err := d.Check(server, request, answer); err != nil {
					t.Errorf("%s, %s: its example: %v", folder.Name, item.Name, err)
				}
			}
		}
	}
	for _, o := range d.Operations {
		if !tried[o.ID] {
			t.Errorf("no request in %s is %s: add one for each operation of %s", collectionFile, o.Where, document)
		}
	}
}

// TestCollectionRunsAgainstTheBlog runs it as a user does, with newman, and
// holds every answer to the document.
func TestCollectionRunsAgainstTheBlog(t *testing.T) {
	newman := harness.NodeProgram(t, "newman")
	blog := harness.StartBlog(t, harness.Config{})
	report := filepath.Join(t.TempDir(), "report.json")
	args := []string{"run", collectionFile, "--environment", laptopFile, "--color", "off", "--timeout-request", "30000",
		"--reporters", "cli,json", "--reporter-json-export", report}
	service := map[string]string{} // by port
	for _, p := range blog.Processes() {
		args = append(args, "--env-var", p.Name+"="+p.URL)
		service[p.URL[strings.LastIndexByte(p.URL, ':')+1:]] = p.Name
	}
	if out, err := exec.CommandContext(t.Context(), newman, args...).CombinedOutput(); err != nil {
		t.Errorf("newman: %v\n%s", err, out)
	}
	var run struct {
		Run struct {
			Executions []struct {
				Item    struct{ Name string }
				Request struct {
					Method string
					URL    struct {
						Port string
						Path []string
					}
				}
				Response *struct {
					Code   int
					Header []keyValue
					Stream struct{ Data []int }
				}
			}
		}
	}
	decode(t, report, &run)
	for _, e := range run.Run.Executions {
		if e.Response == nil {
			t.Errorf("%s got no answer", e.Item.Name)
			continue
		}
		body := make([]byte, len(e.Response.Stream.Data))
		for i, b := range e.Response.Stream.Data {
			body[i] = byte(b)
		}
		answer := openapi.Answer{Status: e.Response.Code, Header: headerOf(e.Response.Header), Body: body}
		answer.Header.Del("Content-Encoding") // newman has decoded it
		request := httptest.NewRequest(e.Request.Method, "/"+strings.Join(e.Request.URL.Path, "/"), nil)
		if err := description(t).Check(service[e.Request.URL.Port], request, answer); err != nil {
			t.Errorf("%s: %v", e.Item.Name, err)
		}
	}
	if len(run.Run.Executions) == 0 {
		t.Error("newman has sent nothing")
	}
}
