package service

import (
	"net"
	"strings"
)

// addresses say where a service listens, and which names requests may be
// addressed to.
type addresses struct {
	public string   // ADDR
	admin  string   // ADMIN_ADDR; "" if the public address serves its routes, too
	hosts  []string // names that requests to public may be addressed to; empty: any
}

// loopbackNames stand for an ALLOWED_HOSTS that nobody has set, on an address
// that only this machine can reach. A web page whose name is pointed at
// 127.0.0.1 (DNS rebinding) is addressed to that name, and so is refused.
var loopbackNames = []string{"localhost", "127.0.0.1", "::1"}

// addresses reads ADDR, ADMIN_ADDR and ALLOWED_HOSTS.
func (e *Env) addresses(defaultAddr string) addresses {
	a := addresses{
		public: e.address("ADDR", defaultAddr),
		admin:  e.address("ADMIN_ADDR", ""),
		hosts:  e.List("ALLOWED_HOSTS", ""),
	}
	e.loopback = isLoopback(a.public)
	for _, name := range a.hosts {
		if strings.ContainsAny(name, "/:*") && net.ParseIP(name) == nil {
			e.fail("ALLOWED_HOSTS", name, "must be names without scheme and port, such as posts.com, separated by commas")
		}
	}
	if e.loopback {
		a.hosts = append(a.hosts, loopbackNames...)
	}
	return a
}

// address returns a host and a port.
func (e *Env) address(name, def string) string {
	addr := e.String(name, def)
	if _, _, err := net.SplitHostPort(addr); err != nil && addr != "" {
		e.fail(name, addr, "must be a host and a port, such as localhost:4000 or :4000")
	}
	return addr
}

// isLoopback tells whether only this machine can reach addr.
func isLoopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	return err == nil && (strings.EqualFold(host, "localhost") || net.ParseIP(host).IsLoopback())
}
