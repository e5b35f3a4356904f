// Command client serves the blog's page, its assets, and where the page finds
// the services.
//
// Its law: a browser never shows a page older than the program that serves
// it, and the page talks to nobody but the configured services.
package main

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"net/http"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"

	"miniblog/internal/page"
	"miniblog/internal/service"
	"miniblog/internal/web"
)

//go:embed page
var embedded embed.FS

func main() { service.Main("client", "localhost:3000", open) }

// configFile tells the page where the services are.
const configFile = "config.json"

// config is where the page finds the services; "" means its own origin. Console
// is where a person sees what the event bus did, "" where nobody may.
type config struct {
	Posts    string `json:"posts"`
	Comments string `json:"comments"`
	Query    string `json:"query"`
	Console  string `json:"console,omitzero"`
}

func open(_ context.Context, env *service.Env) (*service.Service, error) {
	services := config{
		Posts:    env.URLOrEmpty("POSTS_URL", "http://localhost:4000"),
		Comments: env.URLOrEmpty("COMMENTS_URL", "http://localhost:4001"),
		Query:    env.URLOrEmpty("QUERY_URL", "http://localhost:4002"),
	}
	if env.String("CONSOLE_URL", "") != "" {
		services.Console = env.URL("CONSOLE_URL", "")
	}
	if env.Err() != nil {
		return nil, nil // Run reports it
	}
	policy, err := contentSecurityPolicy(services)
	if err != nil {
		return nil, err
	}
	files, err := openPage(env.String("PAGE_DIR", ""))
	if err != nil {
		return nil, err
	}
	body, err := json.Marshal(services)
	if err != nil {
		return nil, fmt.Errorf("encoding config.json: %w", err)
	}
	where := page.NewAsset(configFile, body)
	return &service.Service{Routes: map[string]web.Handler{
		"GET /" + configFile: page.Guarded(policy, func(w http.ResponseWriter, r *http.Request) error {
			where.Serve(w, r)
			return nil
		}),
		"GET /": page.Guarded(policy, func(w http.ResponseWriter, r *http.Request) error {
			return files.Serve(w, r, strings.TrimPrefix(r.URL.Path, "/"))
		}),
		"/": page.Guarded(policy, func(w http.ResponseWriter, r *http.Request) error { return refuse(files, w, r) }),
	}}, nil
}

// openPage returns the page built into this program or, if dir is not empty,
// the one in that folder.
func openPage(dir string) (page.Page, error) {
	if dir == "" {
		root, err := fs.Sub(embedded, "page")
		if err != nil {
			return nil, fmt.Errorf("opening the embedded page: %w", err)
		}
		return page.BuiltIn(root)
	}
	files, err := page.FromFolder(dir)
	if err != nil {
		return nil, fmt.Errorf("PAGE_DIR=%q: %w", dir, err)
	}
	return files, nil
}

// notFiles are the paths that can be got, but are no files of the page.
var notFiles = []string{"", configFile, "healthz", "readyz", "metrics"}

// refuse answers other methods than GET: 404 where there is nothing to GET, so
// that nobody takes a path of a service that is not there for one of the page.
func refuse(files page.Page, w http.ResponseWriter, r *http.Request) error {
	path := strings.TrimPrefix(r.URL.Path, "/")
	if _, err := files(path); err != nil && !slices.Contains(notFiles, path) {
		return page.Nothing(r)
	}
	return web.NotAllowed(w.Header(), r.Method, "GET, HEAD")
}
