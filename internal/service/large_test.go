package service

import (
	"net/http"
	"strings"
	"sync"
	"testing"

	"miniblog/internal/web"
)

// A client that was still writing often got a reset connection for an answer.
func TestWhoeverSendsTooMuchHearsWhy(t *testing.T) {
	t.Parallel()
	s := serve(t, map[string]web.Handler{"POST /post": func(w http.ResponseWriter, r *http.Request) error {
		return web.ReadJSON(w, r, new(struct{}))
	}})
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 25 {
				response, err := s.client.Post("http://"+s.addr+"/post", "application/json", strings.NewReader(strings.Repeat("x", 2<<20)))
				if err != nil {
					t.Error(err)
					return
				}
				response.Body.Close()
				if response.StatusCode != http.StatusRequestEntityTooLarge {
					t.Errorf("answered %s", response.Status)
				}
			}
		})
	}
	all.Wait()
}
