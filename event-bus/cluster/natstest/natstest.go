// Package natstest runs real nats-server processes for tests: a JetStream
// cluster on loopback ports, built by the Go tool chain.
//
// Its law: what a test starts ends with the test.
package natstest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Cluster is three servers.
type Cluster struct {
	Servers []*Server
	t       testing.TB
}

// Server is one of them. It may be stopped and started again.
type Server struct {
	URL        string
	MonitorURL string
	t          testing.TB
	dir        string // its config, log and store
	cmd        *exec.Cmd
}

// Options of a cluster; zero means the default.
type Options struct {
	SyncInterval string // always
	MaxStore     string // 1GB
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
	if options.SyncInterval == "" {
		options.SyncInterval = "always"
	}
	if options.MaxStore == "" {
		options.MaxStore = "1GB"
	}
	const n = 3
	ports := freePorts(t, 3*n)
	var routes []string
	for i := range n {
		routes = append(routes, fmt.Sprintf("nats://127.0.0.1:%d", ports[3*i+2]))
	}
	c := &Cluster{t: t}
	for i := range n {
		s := &Server{
			URL:        fmt.Sprintf("nats://127.0.0.1:%d", ports[3*i]),
			MonitorURL: fmt.Sprintf("http://127.0.0.1:%d", ports[3*i+1]),
			t:          t, dir: t.TempDir(),
		}
		config := fmt.Sprintf(`server_name: n%d
listen: 127.0.0.1:%d
http: 127.0.0.1:%d
jetstream { store_dir: %q, sync_interval: %s, max_file_store: %s, max_memory_store: 64MB }
cluster { name: miniblog, listen: 127.0.0.1:%d, routes: [%s] }
accounts {
  SYS {
    users: [{user: system, password: system}]
    exports: [{service: "$SYS.REQ.SERVER.PING.JSZ", response_type: stream}]
  }
  MINIBLOG {
    jetstream: enabled
    users: [{user: miniblog, password: miniblog}]
    imports: [{service: {account: SYS, subject: "$SYS.REQ.SERVER.PING.JSZ"}}]
  }
}
system_account: SYS
no_auth_user: miniblog
`, i+1, ports[3*i], ports[3*i+1], filepath.Join(s.dir, "store"), options.SyncInterval, options.MaxStore, ports[3*i+2], strings.Join(routes, ", "))
		if err := os.WriteFile(filepath.Join(s.dir, "nats.conf"), []byte(config), 0o644); err != nil {
			t.Fatal(err)
		}
		c.Servers = append(c.Servers, s)
		s.Start()
	}
	t.Cleanup(func() {
		for _, s := range c.Servers {
			s.Kill()
		}
	})
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

// Start starts the server.
func (s *Server) Start() {
	s.t.Helper()
	path, err := binary()
	if err != nil {
		s.t.Fatal(err)
	}
	s.cmd = exec.Command(path, "-c", filepath.Join(s.dir, "nats.conf"), "-l", filepath.Join(s.dir, "log"))
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
}

// Kill ends the server as kill -9 does.
func (s *Server) Kill() {
	if s.cmd != nil {
		s.cmd.Process.Kill()
		s.cmd.Wait()
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

// freePorts returns ports that nobody listens on. Servers that know one
// another by their ports must have the same ones after a restart.
func freePorts(t testing.TB, n int) (ports []int) {
	t.Helper()
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports
}
