package natstest

import (
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// Link is a network connection that can break: a TCP proxy on loopback in front
// of one address. Its methods may be called from any goroutine.
//
//   - passing is closed while bytes pass, and open while the link is stalled.
type Link struct {
	Addr string // where to connect

	mu       sync.Mutex
	target   string
	cut      bool
	passing  chan struct{}
	broken   chan struct{} // closed by a cut and replaced: ends what is connected
	accepted sync.WaitGroup
}

// NewLink returns a link to target that works. It ends with the test.
func NewLink(t testing.TB, target string) *Link {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &Link{Addr: listener.Addr().String(), target: target, passing: make(chan struct{}), broken: make(chan struct{})}
	close(l.passing)
	l.accepted.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			l.accepted.Go(func() { l.connect(conn) })
		}
	})
	t.Cleanup(func() {
		listener.Close()
		l.Cut()
		l.accepted.Wait()
	})
	return l
}

// Cut ends every connection and refuses new ones.
func (l *Link) Cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = true
	close(l.broken)
	l.broken = make(chan struct{})
}

// Lead makes new connections go to another address.
func (l *Link) Lead(target string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.target = target
}

// Stall keeps connections open and lets nothing pass, as a network does that
// loses packets.
func (l *Link) Stall() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.passing = make(chan struct{})
}

// Heal makes the link work again; what was held back passes now.
func (l *Link) Heal() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = false
	select {
	case <-l.passing:
	default:
		close(l.passing)
	}
}

func (l *Link) connect(near net.Conn) {
	defer near.Close()
	l.mu.Lock()
	cut, broken, target := l.cut, l.broken, l.target
	l.mu.Unlock()
	if cut {
		return
	}
	far, err := net.DialTimeout("tcp", target, time.Second)
	if err != nil {
		return
	}
	defer far.Close()
	ended := make(chan struct{}, 2)
	go func() { l.pass(far, near, broken); ended <- struct{}{} }()
	go func() { l.pass(near, far, broken); ended <- struct{}{} }()
	select {
	case <-ended:
	case <-broken:
	}
}

// pass copies bytes until one end closes or the link is cut.
func (l *Link) pass(to io.Writer, from io.Reader, broken <-chan struct{}) {
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		l.mu.Lock()
		passing := l.passing
		l.mu.Unlock()
		select {
		case <-passing:
		case <-broken:
			return
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}
