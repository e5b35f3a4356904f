// Package natstest runs real nats-server processes for tests: a JetStream
// cluster on loopback ports, built by the Go tool chain.
//
// Its law: what a test starts ends with the test, however that ends.
package natstest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"miniblog/test/harness"
)

// Cluster is three servers.
type Cluster struct {
	Servers     []*Server
	Links       [][]*Link // from server to server, with Options.Links
	Credentials []byte    // the file of the only user, with Options.JWT
	t           testing.TB
}

// Server is one of them. It may be stopped and started again.
type Server struct {
	URL        string
	MonitorURL string
	t          testing.TB
	dir        string // its config, log and store
	cmd        *exec.Cmd
	wait       func() error
}

// Options of a cluster; zero means the default.
type Options struct {
	SyncInterval string // always
	MaxStore     string // 1GB
	Links        bool   // the servers reach one another over links that can be broken
	Accounts     int    // accounts beside the default one: see Account
	Nkey         string // the public key that the only user has; without it, none has to say who they are
	JWT          bool   // users have tokens that an operator's accounts have signed

	operator *operator // with JWT
}

// binary builds nats-server and returns its path.
var binary = sync.OnceValues(func() (string, error) {
	var stderr bytes.Buffer
	cmd := exec.Command("go", "tool", "-n", "nats-server")
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("building nats-server: %w\n%s", err, &stderr)
	}
	return strings.TrimSpace(string(out)), nil
})

// Start starts three servers and waits until JetStream has a leader.
func Start(t testing.TB, options Options) *Cluster {
	t.Helper()
	const n = 3
	c := &Cluster{t: t}
	if options.JWT {
		o, err := newOperator()
		if err != nil {
			t.Fatal(err)
		}
		options.operator, c.Credentials = &o, o.user
	}
	var clients, monitors, routes []string
	for range n {
		clients = append(clients, harness.FreeAddress(t))
		monitors = append(monitors, harness.FreeAddress(t))
		routes = append(routes, harness.FreeAddress(t))
	}
	for i := range n {
		s := &Server{URL: "nats://" + clients[i], MonitorURL: "http://" + monitors[i], t: t, dir: t.TempDir()}
		links := make([]*Link, n)
		var others []string
		for j, route := range routes {
			if j == i {
				continue
			}
			if options.Links {
				links[j] = NewLink(t, route)
				route = links[j].Addr
			}
			others = append(others, route)
		}
		c.Servers, c.Links = append(c.Servers, s), append(c.Links, links)
		config := Config{
			Name: fmt.Sprintf("n%d", i+1), Client: clients[i], Monitor: monitors[i],
			Route: routes[i], Routes: others, Store: filepath.Join(s.dir, "store"), Options: options,
		}
		if err := os.WriteFile(filepath.Join(s.dir, "nats.conf"), []byte(config.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		s.Start()
		t.Cleanup(s.Kill)
	}
	for _, s := range c.Servers {
		s.WaitReady()
	}
	return c
}

// URL is what NATS_URL is set to.
func (c *Cluster) URL() string {
	var urls []string
	for _, s := range c.Servers {
		urls = append(urls, s.URL)
	}
	return strings.Join(urls, ",")
}

// Account returns the URLs of a cluster for its account of that number, from 1 up,
// which has streams of its own: tests that each have one do not see one another.
func Account(urls string, n int) string {
	return strings.ReplaceAll(urls, "nats://", fmt.Sprintf("nats://user%d:secret@", n))
}

// Start starts the server.
func (s *Server) Start() {
	s.t.Helper()
	path, err := binary()
	if err != nil {
		s.t.Fatal(err)
	}
	s.cmd = exec.Command(path, "-c", filepath.Join(s.dir, "nats.conf"), "-l", filepath.Join(s.dir, "log"))
	if s.wait, err = harness.Tied(s.cmd); err != nil {
		s.t.Fatal(err)
	}
}

// Kill ends the server as kill -9 does.
func (s *Server) Kill() {
	if s.cmd != nil {
		s.cmd.Process.Kill()
		s.wait()
		s.cmd = nil
	}
}

// Signal sends it a signal: SIGSTOP, SIGCONT.
func (s *Server) Signal(signal syscall.Signal) {
	s.t.Helper()
	if err := s.cmd.Process.Signal(signal); err != nil {
		s.t.Fatal(err)
	}
}

// Wipe empties the disk of a server that is not running.
func (s *Server) Wipe() {
	s.t.Helper()
	if err := os.RemoveAll(filepath.Join(s.dir, "store")); err != nil {
		s.t.Fatal(err)
	}
}

// WaitReady waits until the server and its part of JetStream are well.
func (s *Server) WaitReady() {
	s.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		var answer struct {
			Status string `json:"status"`
		}
		if err := s.Get("/healthz", &answer); err == nil && answer.Status == "ok" {
			return
		} else if time.Now().After(deadline) {
			log, _ := os.ReadFile(filepath.Join(s.dir, "log"))
			s.t.Fatalf("%s is not ready: %q, %v; its log ends:\n%s", s.URL, answer.Status, err, log[max(0, len(log)-2000):])
		}
	}
}

// Get reads a page of the server's monitoring.
func (s *Server) Get(path string, into any) error {
	client := http.Client{Timeout: 2 * time.Second}
	resp, err := client.Get(s.MonitorURL + path)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return json.NewDecoder(resp.Body).Decode(into)
}
