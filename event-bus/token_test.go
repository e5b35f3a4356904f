package main

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

// TestWhoeverReachesTheBusFromElsewhereMayNotActOnSubscribers: what is done to subscribers,
// and what is seen of everybody, asks for the token; events do not.
func TestWhoeverReachesTheBusFromElsewhereMayNotActOnSubscribers(t *testing.T) {
	t.Parallel()
	const token = "a token"
	b := startBus(t, "CONSOLE_TOKEN", token)
	ask := func(request, bearer string) int {
		method, path, _ := strings.Cut(request, " ")
		body := `{"type":"T","after":0,"from":0}`
		r, err := http.NewRequestWithContext(t.Context(), method, "http://"+b.addr+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Authorization", bearer)
		response, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		if !strings.HasPrefix(path, "/activity") || response.StatusCode != http.StatusOK { // which goes on
			io.Copy(io.Discard, response.Body)
		}
		return response.StatusCode
	}
	for request, withToken := range map[string]int{
		"POST /subscribers/nobody/replay": 404, "POST /subscribers/nobody/dead-letters/redeliver": 404, "GET /activity": 200,
		"GET /": 200, "GET /console/cluster": 200, "GET /console/events": 200, "GET /console/log": 200, "GET /console/openapi.json": 200,
	} {
		for _, bearer := range []string{"", "Bearer ", "Bearer another", token} {
			if got := ask(request, bearer); got != http.StatusUnauthorized {
				t.Errorf("%s with %q: %d", request, bearer, got)
			}
		}
		if got := ask(request, "Bearer "+token); got != withToken {
			t.Errorf("%s with the token: %d, want %d", request, got, withToken)
		}
	}
	for _, request := range []string{"POST /events", "GET /events", "GET /subscribers", "GET /healthz"} {
		if got := ask(request, ""); got != http.StatusOK {
			t.Errorf("%s without the token: %d", request, got)
		}
	}
	http.DefaultClient.CloseIdleConnections()
}
