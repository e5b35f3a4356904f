package harness

import (
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync/atomic"
	"testing"
)

// newProxy starts a plain round-robin proxy and returns its URL. It knows
// nothing of its targets: one that is down gets its turn and is a 502.
func newProxy(t testing.TB, targets []*Process) string {
	t.Helper()
	var turn atomic.Uint64
	transport := &http.Transport{MaxIdleConnsPerHost: 64}
	server := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			target, err := url.Parse(targets[turn.Add(1)%uint64(len(targets))].URL)
			if err != nil {
				panic(err) // our own URL
			}
			r.SetURL(target)
			r.Out.Host = r.In.Host
		},
		Transport:     transport,
		FlushInterval: -1,
		ErrorLog:      log.New(io.Discard, "", 0), // it would tell of every process that a test ends
	})
	t.Cleanup(func() {
		server.CloseClientConnections() // streams do not end by themselves
		server.Close()
		transport.CloseIdleConnections()
	})
	return server.URL
}
