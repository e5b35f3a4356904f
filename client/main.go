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
	"net/http"

	"github.com/go-json-experiment/json"

	"miniblog/internal/service"
	"miniblog/internal/web"
)

//go:embed page
var embedded embed.FS

func main() { service.Main("client", "localhost:3000", open) }

// configFile tells the page where the services are.
const configFile = "config.json"

// config is where the page finds the services; "" means its own origin.
type config struct {
	Posts    string `json:"posts"`
	Comments string `json:"comments"`
	Query    string `json:"query"`
}

func open(_ context.Context, env *service.Env) (*service.Service, error) {
	services := config{
		Posts:    env.URLOrEmpty("POSTS_URL", "http://localhost:4000"),
		Comments: env.URLOrEmpty("COMMENTS_URL", "http://localhost:4001"),
		Query:    env.URLOrEmpty("QUERY_URL", "http://localhost:4002"),
	}
	if env.Err() != nil {
		return nil, nil // Run reports it
	}
	policy, err := contentSecurityPolicy(services)
	if err != nil {
		return nil, err
	}
	page, err := openPage(env.String("PAGE_DIR", ""))
	if err != nil {
		return nil, err
	}
	body, err := json.Marshal(services)
	if err != nil {
		return nil, fmt.Errorf("encoding config.json: %w", err)
	}
	where := newAsset(configFile, body)
	return &service.Service{Routes: map[string]web.Handler{
		"GET /" + configFile: guarded(policy, func(w http.ResponseWriter, r *http.Request) error {
			where.serve(w, r)
			return nil
		}),
		"GET /": guarded(policy, page.serve),
		"/":     guarded(policy, page.refuse),
	}}, nil
}
