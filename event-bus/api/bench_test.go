package api

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"miniblog/internal/event"
	"miniblog/internal/web"
)

// BenchmarkFetch measures what services ask for, over a real connection: the
// newest event, as whoever follows does, and a whole history.
func BenchmarkFetch(b *testing.B) {
	const history = 100_000
	log := openLog(b)
	for n := 0; n < history; {
		var lines []event.Line
		for range min(1000, history-n) {
			n++
			line, err := readLine(fmt.Appendf(nil, `{"type":"PostCreated","subject":"s%d","data":{"id":"s%d","title":"the title %d"}}`, n, n, n))
			if err != nil {
				b.Fatal(err)
			}
			lines = append(lines, line)
		}
		if n == history { // the newest came alone
			last := lines[len(lines)-1]
			if _, err := log.Append(b.Context(), lines[:len(lines)-1]); err != nil {
				b.Fatal(err)
			}
			lines = []event.Line{last}
		}
		if _, err := log.Append(b.Context(), lines); err != nil {
			b.Fatal(err)
		}
	}
	server := httptest.NewServer(web.Handler(New(Config{Log: log, Stopping: b.Context()}).fetch))
	defer server.Close()
	client := &http.Client{Transport: &http.Transport{DisableCompression: true}}
	defer client.CloseIdleConnections()
	for name, query := range map[string]string{"newest": fmt.Sprintf("after=%d&wait=30s", history-1), "history": "after=0"} {
		for _, encoding := range []string{"zstd", "identity"} {
			b.Run(name+"/"+encoding, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					r, _ := http.NewRequest("GET", server.URL+"/events?"+query, nil)
					r.Header.Set("Accept", "application/x-ndjson")
					r.Header.Set("Accept-Encoding", encoding)
					response, err := client.Do(r)
					if err != nil {
						b.Fatal(err)
					}
					if n, err := io.Copy(io.Discard, response.Body); err != nil || n == 0 {
						b.Fatalf("%d bytes, %v", n, err)
					}
					response.Body.Close()
				}
			})
		}
	}
}
