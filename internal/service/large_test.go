package service

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

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

// A client that asked before it sent too much was told to send it.
func TestWhoeverAsksBeforeSendingTooMuchHearsWhyAtOnce(t *testing.T) {
	t.Parallel()
	s := serve(t, map[string]web.Handler{"POST /post": func(w http.ResponseWriter, r *http.Request) error {
		return web.ReadJSON(w, r, new(struct{}))
	}})
	conn, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	fmt.Fprintf(conn, "POST /post HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n", web.MaxBody+1)
	if line, err := bufio.NewReader(conn).ReadString('\n'); !strings.HasPrefix(line, "HTTP/1.1 413 ") {
		t.Errorf("answered %q, %v", line, err)
	}
}

// A reader who was quick and then stalled had 4 MiB of the kernel, which count as the
// pod's memory: fifty of them were the whole of it.
func TestKernelKeepsLittleForAReaderWhoStalls(t *testing.T) {
	t.Parallel()
	const body, taken = 32 << 20, 16 << 20
	var sent atomic.Int64
	s := serve(t, map[string]web.Handler{"GET /long": func(w http.ResponseWriter, r *http.Request) error {
		for slice := make([]byte, 16<<10); sent.Load() < body; sent.Add(int64(len(slice))) {
			if _, err := w.Write(slice); err != nil {
				return nil
			}
		}
		return nil
	}})
	conn, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.(*net.TCPConn).SetReadBuffer(64 << 10) // its own is not what is looked at
	fmt.Fprint(conn, "GET /long HTTP/1.1\r\nHost: localhost\r\n\r\n")
	if _, err := io.CopyN(io.Discard, conn, taken); err != nil {
		t.Fatal(err)
	}
	for before := int64(-1); sent.Load() != before; time.Sleep(200 * time.Millisecond) { // until it is stuck
		before = sent.Load()
	}
	if kept := sent.Load() - taken; kept > 1<<20 {
		t.Errorf("%d bytes were sent that nobody has read", kept)
	}
}
