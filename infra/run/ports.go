package main

import (
	"fmt"
	"net"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// checkPorts returns an error that says which ports are taken, by whom they
// are needed, and what to do.
func checkPorts(programs []program) error {
	type listener struct {
		name string
		port int
	}
	var all, taken []listener
	for _, p := range programs {
		for _, port := range append([]int{p.port}, p.more...) {
			all = append(all, listener{p.name, port})
		}
	}
	for _, l := range all {
		if l.port < 1 || l.port > 65535 {
			return fmt.Errorf("%s cannot listen on port %d: choose a shift that keeps every port between 1 and 65535", l.name, l.port)
		}
		if portTaken(l.port) {
			taken = append(taken, l)
		}
	}
	if len(taken) == 0 {
		return nil
	}
	var b strings.Builder
	b.WriteString("Nothing was started:\n")
	for _, l := range taken {
		fmt.Fprintf(&b, "  port %d, which %s needs, is taken by another program\n", l.port, l.name)
	}
	if len(taken) == len(all) {
		b.WriteString("The blog may be running already, in another terminal.\n")
	}
	fmt.Fprintf(&b, "Stop the program that has it; this shows which one it is:  %s\n", whoListens(taken[0].port))
	fmt.Fprintf(&b, "Or move all ports, by 100 for example:  make run SHIFT=100")
	return fmt.Errorf("%s", b.String())
}

// portTaken tells whether somebody has the port on this machine. A port can
// often be opened on one address while another program has it on the next one,
// and then a browser may reach either: so both are also called.
func portTaken(port int) bool {
	number := strconv.Itoa(port)
	for _, host := range []string{"127.0.0.1", "::1"} {
		conn, err := net.DialTimeout("tcp", net.JoinHostPort(host, number), 200*time.Millisecond)
		if err == nil {
			conn.Close()
			return true
		}
	}
	listener, err := net.Listen("tcp", net.JoinHostPort("localhost", number))
	if err != nil {
		return true
	}
	listener.Close()
	return false
}

// whoListens is the command that names the program behind a port.
func whoListens(port int) string {
	if runtime.GOOS == "linux" {
		return fmt.Sprintf("ss -ltnp 'sport = :%d'", port)
	}
	return fmt.Sprintf("lsof -nP -iTCP:%d -sTCP:LISTEN", port)
}
