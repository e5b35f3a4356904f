// Package console is the page that the bus serves at "/": what it sees, and what
// a person can do about it.
//
// Its law: whoever looks costs the bus a bounded amount of work and memory, and
// stops costing it when they leave; nobody looks from elsewhere without the token.
package console

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"net/http"
	"sync"

	"sigs.k8s.io/yaml"

	description "miniblog/docs/api"
	"miniblog/event-bus/cluster"
	"miniblog/event-bus/eventlog"
	"miniblog/internal/page"
	"miniblog/internal/web"
)

//go:embed page
var embedded embed.FS

// folder is where the page's files are on the web: "/" is the index, and what
// is beside it would be in the way of the bus's own routes.
const folder = "/console/"

// Config is what the console shows. It closes none of it.
type Config struct {
	Log      *eventlog.Log
	Roster   *cluster.Roster // nil: this bus is alone
	Access   *Access
	Stopping context.Context // ends when the service begins to stop: searches end then
}

// console answers the routes of the page.
type console struct {
	log      *eventlog.Log
	roster   *cluster.Roster // nil: alone
	stopping context.Context
	searches chan struct{} // holds one for each search under way
	files    page.Page
	openAPI  func() (*page.Asset, error)
}

// Routes returns the handlers by pattern of http.ServeMux.
func Routes(config Config) (map[string]web.Handler, error) {
	root, err := fs.Sub(embedded, "page")
	if err != nil {
		return nil, fmt.Errorf("opening the embedded page: %w", err)
	}
	files, err := page.BuiltIn(root)
	if err != nil {
		return nil, err
	}
	c := &console{
		log: config.Log, roster: config.Roster, stopping: config.Stopping, searches: make(chan struct{}, searchesAtOnce),
		files: files, openAPI: sync.OnceValues(readOpenAPI),
	}
	guarded := func(next web.Handler) web.Handler { return page.Guarded(page.Policy(), next) }
	return map[string]web.Handler{
		"GET /{$}":                       guarded(config.Access.Guard(c.index)),
		"GET " + folder + "{file...}":    guarded(c.file), // anybody may read our source
		"GET " + folder + "events":       guarded(config.Access.Guard(c.search)),
		"GET " + folder + "log":          guarded(config.Access.Guard(c.describeLog)),
		"GET " + folder + "cluster":      guarded(config.Access.Guard(c.describeCluster)),
		"GET " + folder + "openapi.json": guarded(config.Access.Guard(c.describeRoutes)),
	}, nil
}

func (c *console) index(w http.ResponseWriter, r *http.Request) error {
	return c.files.Serve(w, r, "")
}

func (c *console) file(w http.ResponseWriter, r *http.Request) error {
	return c.files.Serve(w, r, r.PathValue("file"))
}

// describeRoutes answers with the document that describes all services.
func (c *console) describeRoutes(w http.ResponseWriter, r *http.Request) error {
	document, err := c.openAPI()
	if err == nil {
		document.Serve(w, r)
	}
	return err
}

func readOpenAPI() (*page.Asset, error) {
	text, err := yaml.YAMLToJSON(description.OpenAPI)
	if err != nil {
		return nil, fmt.Errorf("reading the description of the routes: %w", err)
	}
	return page.NewAsset("openapi.json", text), nil
}
