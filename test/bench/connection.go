package main

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// connection is an HTTP/1.1 connection on a bare socket that never blocks. It
// knows as much of RFC 9112 as the answers of this blog need: a status, and a
// body that has a Content-Length or is chunked.
type connection struct {
	fd     int
	number int    // of the connection within its load
	head   []byte // of every request; a POST's length and body are appended

	requests int
	sent     time.Time
	request  []byte // all of the request under way
	unsent   []byte // the rest of it
	answer   []byte // what has come of the answer
}

func dial(addr string, head []byte, number int) (*connection, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	file, err := conn.(*net.TCPConn).File()
	if err != nil {
		return nil, err
	}
	defer file.Close()
	fd, err := unix.Dup(int(file.Fd()))
	if err != nil {
		return nil, err
	}
	unix.CloseOnExec(fd)
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	return &connection{fd: fd, number: number, head: head}, nil
}

func (c *connection) close() { unix.Close(c.fd) }

// send begins the next request.
func (c *connection) send(body func(connection, n int) []byte) {
	c.request = append(c.request[:0], c.head...)
	if body != nil {
		b := body(c.number, c.requests)
		c.request = strconv.AppendInt(c.request, int64(len(b)), 10)
		c.request = append(c.request, "\r\n\r\n"...)
		c.request = append(c.request, b...)
	}
	c.requests++
	c.sent = time.Now()
	c.unsent, c.answer = c.request, c.answer[:0]
	if n, err := unix.Write(c.fd, c.unsent); err == nil { // an error comes again in proceed
		c.unsent = c.unsent[n:]
	}
}

// waitsFor returns what the connection waits for, as poll(2) names it.
func (c *connection) waitsFor() int16 {
	if len(c.unsent) > 0 {
		return unix.POLLOUT
	}
	return unix.POLLIN
}

// proceed sends or reads what can be without blocking, and reports whether the
// answer is complete. An answer that is no success is an error. It reads into buf.
func (c *connection) proceed(buf []byte) (answered bool, err error) {
	if len(c.unsent) > 0 {
		n, err := unix.Write(c.fd, c.unsent)
		if err == unix.EAGAIN {
			return false, nil
		}
		if err != nil {
			return false, fmt.Errorf("sending: %w", err)
		}
		c.unsent = c.unsent[n:]
		return false, nil
	}
	n, err := unix.Read(c.fd, buf)
	if err == unix.EAGAIN {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("reading: %w", err)
	}
	if n == 0 {
		return false, errors.New("closed the connection")
	}
	c.answer = append(c.answer, buf[:n]...)
	complete, err := complete(c.answer)
	if err == nil && complete && c.answer[len("HTTP/1.1 ")] != '2' {
		err = fmt.Errorf("answered %s", c.answer)
	}
	return complete, err
}

// complete reports whether answer is a whole one.
func complete(answer []byte) (bool, error) {
	head, body, ok := bytes.Cut(answer, []byte("\r\n\r\n"))
	if !ok {
		return false, nil
	}
	if length, ok := header(head, "\r\nContent-Length: "); ok {
		n, err := strconv.Atoi(string(length))
		return len(body) >= n, err
	}
	if _, ok := header(head, "\r\nTransfer-Encoding: chunked"); !ok {
		return false, fmt.Errorf("an answer without a length: %s", head)
	}
	for {
		size, rest, ok := bytes.Cut(body, []byte("\r\n"))
		if !ok {
			return false, nil
		}
		n, err := strconv.ParseUint(string(size), 16, 31)
		if err != nil || len(rest) < int(n)+2 {
			return false, err
		}
		if n == 0 {
			return true, nil
		}
		body = rest[n+2:]
	}
}

// header returns what follows name up to the end of its line.
func header(head []byte, name string) ([]byte, bool) {
	_, rest, ok := bytes.Cut(head, []byte(name))
	value, _, _ := bytes.Cut(rest, []byte("\r\n"))
	return value, ok
}
