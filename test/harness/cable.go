package harness

import (
	"io"
	"net"
	"strings"
	"sync"
	"testing"
)

// Cable is the way to a process for those who are given its URL. It can lose what
// is sent, both ways, so that neither side hears that the other has gone.
type Cable struct {
	URL string

	target   string
	listener net.Listener
	pumps    sync.WaitGroup

	mu     sync.Mutex
	loses  bool
	closed bool
	ends   []net.Conn // of all connections so far
}

// NewCable returns a cable to the process at a URL. It ends with the test.
func NewCable(t testing.TB, url string) *Cable {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &Cable{URL: "http://" + listener.Addr().String(), target: strings.TrimPrefix(url, "http://"), listener: listener}
	c.pumps.Go(c.accept)
	t.Cleanup(func() {
		listener.Close()
		c.closeAll(true)
		c.pumps.Wait()
	})
	return c
}

// Lose loses from now on whatever is sent. Connections stay open, and new ones can
// be opened.
func (c *Cable) Lose() { c.lose(true) }

// Restore ends that. The connections that have lost something are closed.
func (c *Cable) Restore() {
	c.lose(false)
	c.closeAll(false)
}

func (c *Cable) lose(is bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.loses = is
}

func (c *Cable) lost() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.loses
}

func (c *Cable) closeAll(forGood bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = c.closed || forGood
	for _, conn := range c.ends {
		conn.Close()
	}
	c.ends = nil
}

func (c *Cable) accept() {
	for {
		near, err := c.listener.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("tcp", c.target)
		if err != nil {
			near.Close() // refused, as it would be without us
			continue
		}
		if !c.add(near, far) {
			return
		}
		c.pumps.Go(func() { c.pump(far, near) })
		c.pumps.Go(func() { c.pump(near, far) })
	}
}

// add returns false, and closes the two, after the end.
func (c *Cable) add(near, far net.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		near.Close()
		far.Close()
		return false
	}
	c.ends = append(c.ends, near, far)
	return true
}

// pump passes on what comes from one end, and its close.
func (c *Cable) pump(to io.WriteCloser, from io.Reader) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if c.lost() {
			if err != nil {
				return // the close is lost, too
			}
			continue
		}
		if n > 0 {
			if _, writeErr := to.Write(buffer[:n]); writeErr != nil {
				return
			}
		}
		if err != nil {
			to.Close()
			return
		}
	}
}
