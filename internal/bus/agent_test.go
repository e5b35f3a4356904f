package bus_test

import (
	"net/http"
	"net/http/httptest"
	"regexp"
	"testing"

	"miniblog/internal/bus"
)

func TestProcessNamesItselfToTheBus(t *testing.T) {
	agents := make(chan string, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		agents <- r.UserAgent()
		w.Write([]byte("[]"))
	}))
	defer server.Close()
	page, err := bus.New(server.URL).Fetch(t.Context(), bus.Checkpoint{}, 0)
	if err != nil {
		t.Fatal(err)
	}
	page.Close()
	if agent := <-agents; !regexp.MustCompile(`^miniblog-[^ /]+/[^ ]+ \([^()]+:\d+\)$`).MatchString(agent) {
		t.Errorf("the User-Agent is %q", agent)
	}
}
