package harness

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// Stalled are connections to one process whose clients are stuck: they have
// sent what they send, have room for a few kilobytes of the answer, and neither
// read nor close. They end with the test.
type Stalled struct {
	conns   []net.Conn
	sent    atomic.Int64 // clients that have sent everything, or could not
	answers atomic.Int64 // clients to whom an answer has begun to come, or who were cut off
}

// stalledBuffer is what the kernel is asked to keep for such a client, in bytes.
const stalledBuffer = 4 << 10

// Stall opens n connections to p and sends each what request returns for its
// number.
func Stall(t testing.TB, p *Process, n int, request func(i int) string) *Stalled {
	t.Helper()
	s := new(Stalled)
	dialer := net.Dialer{Timeout: 10 * time.Second, Control: func(_, _ string, c syscall.RawConn) error {
		var failed error
		err := c.Control(func(fd uintptr) {
			failed = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, stalledBuffer)
		})
		if err == nil {
			err = failed
		}
		return err
	}}
	for i := range n {
		conn, err := dialer.DialContext(t.Context(), "tcp", strings.TrimPrefix(p.URL, "http://"))
		if err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
		ended := make(chan struct{})
		s.conns = append(s.conns, conn)
		t.Cleanup(func() { conn.Close(); <-ended })
		text := request(i)
		go func() {
			defer close(ended)
			_, err := io.WriteString(conn, text)
			s.sent.Add(1)
			if err == nil {
				conn.Read(make([]byte, 1)) // blocks until there is an answer, or the end
			}
			s.answers.Add(1)
		}()
	}
	return s
}

// Sent returns how many of the clients have sent what they send, or could not
// because they were cut off.
func (s *Stalled) Sent() int { return int(s.sent.Load()) }

// Answered returns to how many of the clients an answer has begun to come, or
// who were cut off.
func (s *Stalled) Answered() int { return int(s.answers.Load()) }

// RawGet returns the text of a GET of path, with header: names and values in turn.
func RawGet(path string, header ...string) string {
	text := http.MethodGet + " " + path + " HTTP/1.1\r\nHost: localhost\r\n"
	for i := 0; i < len(header); i += 2 {
		text += header[i] + ": " + header[i+1] + "\r\n"
	}
	return text + "\r\n"
}

// RawPost returns the text of a POST of JSON to path. The body is cut short by as
// many bytes as are missing.
func RawPost(path, body string, missing int) string {
	return fmt.Sprintf("%s %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
		http.MethodPost, path, len(body), body[:len(body)-missing])
}
