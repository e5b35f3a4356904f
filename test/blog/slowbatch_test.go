package blog

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"miniblog/test/harness"
)

// Four uploads of a byte now and then used to keep every batch over 1 MiB
// waiting for half a minute: each had reserved 16 MiB before anything came. Eight
// that stall after 9 MiB want more than there is for all.
func TestSlowUploadsDoNotHoldUpLargeBatches(t *testing.T) {
	t.Parallel()
	for name, first := range map[string]int{"that begin slowly": 1, "that stall in the middle": 9 << 20} {
		t.Run(name, func(t *testing.T) {
			bus := harness.StartBus(t)
			for range 8 {
				uploadSlowly(t, strings.TrimPrefix(bus.URL, "http://"), first)
			}
			batch := `[{"type":"T","data":"` + strings.Repeat("x", 900_000) + `"},{"type":"T","data":"` + strings.Repeat("y", 900_000) + `"}]`
			client := http.Client{Timeout: 15 * time.Second} // the slow ones have half a minute
			response, err := client.Post(bus.URL+"/events", "application/cloudevents-batch+json", strings.NewReader(batch))
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			if text, _ := io.ReadAll(response.Body); response.StatusCode != http.StatusOK {
				t.Errorf("answered %s: %s", response.Status, text)
			}
		})
	}
}

// uploadSlowly begins a batch in chunks, of first bytes, and goes on with a byte
// now and then until the test ends or the bus has had enough. It returns once the
// first bytes are sent.
func uploadSlowly(t *testing.T, addr string, first int) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { conn.Close(); <-done })
	fmt.Fprintf(conn, "POST /events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/cloudevents-batch+json\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n[%s\r\n", first, strings.Repeat(" ", first-1))
	go func() {
		defer close(done)
		for {
			if _, err := io.WriteString(conn, "1\r\n \r\n"); err != nil {
				return
			}
			time.Sleep(100 * time.Millisecond)
		}
	}()
}
