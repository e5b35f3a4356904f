package harness

import (
	"net/http"
	"path/filepath"
	"sync"

	"miniblog/test/openapi"
)

// atAddress has the *Process at each host and port, until its test ends.
var atAddress sync.Map

// Description returns docs/api/openapi.yaml.
var Description = sync.OnceValues(func() (*openapi.Description, error) {
	root, err := Root()
	if err != nil {
		return nil, err
	}
	return openapi.Load(filepath.Join(root, "docs", "api", "openapi.yaml"))
})

// checkAnswer fails the test of the process that answered request unless
// docs/api/openapi.yaml describes the answer. What others answer, such as a
// proxy, is not looked at.
func checkAnswer(request *http.Request, answer openapi.Answer) {
	check(request, func(d *openapi.Description, service string) error { return d.Check(service, request, answer) })
}

// checkStreamEvent is checkAnswer for one event of a stream.
func checkStreamEvent(request *http.Request, answer openapi.Answer, e StreamEvent) {
	item := map[string]any{"data": e.Data}
	if e.ID != "" {
		item["id"] = e.ID
	}
	if e.Name != "" {
		item["event"] = e.Name
	}
	check(request, func(d *openapi.Description, service string) error { return d.CheckItem(service, request, answer, item) })
}

func check(request *http.Request, check func(d *openapi.Description, service string) error) {
	p, ours := atAddress.Load(request.URL.Host)
	if !ours {
		return
	}
	process := p.(*Process)
	d, err := Description()
	if err == nil {
		err = check(d, filepath.Base(process.program))
	}
	if err != nil {
		process.t.Error(err)
	}
}
