package blog

import (
	"errors"
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
// waiting for half a minute: each had reserved 16 MiB before anything came. Those
// that stall in the middle hold all that there is for large batches: 64 MiB.
func TestSlowUploadsDoNotHoldUpLargeBatches(t *testing.T) {
	t.Parallel()
	for name, sizes := range map[string][]int{
		"that begin slowly":        {1, 1, 1, 1},
		"that stall in the middle": {9 << 20, 9 << 20, 9 << 20, 9 << 20, 3 << 20, 3 << 19}, // 15, 15, 15, 15, 3 and 1 MiB are reserved
	} {
		t.Run(name, func(t *testing.T) {
			bus := harness.StartBus(t)
			var ended []<-chan struct{}
			for _, size := range sizes {
				ended = append(ended, uploadSlowly(t, strings.TrimPrefix(bus.URL, "http://"), size))
			}
			if sizes[0] > 1 {
				harness.Eventually(t, limit, func() error { return full(t, bus, ended) })
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

// full returns nil when the bus has no memory left for large batches, or when it has
// cut one of the uploads off already.
func full(t *testing.T, bus *harness.Process, ended []<-chan struct{}) error {
	for _, e := range ended {
		select {
		case <-e:
			return nil
		default:
		}
	}
	if text := get(t, bus.URL+"/metrics"); !strings.Contains(text, "\nevent_bus_batch_memory_bytes 6.7108864e+07\n") {
		return errors.New("the bus still has memory for large batches")
	}
	return nil
}

// uploadSlowly begins a batch in chunks, of first bytes, and goes on with a byte
// now and then until the test ends or the bus has had enough, which closes ended. It
// returns once the first bytes are sent.
func uploadSlowly(t *testing.T, addr string, first int) (ended <-chan struct{}) {
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
	return done
}
