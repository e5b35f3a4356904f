package api

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"miniblog/event-bus/cluster/natstest"
	"miniblog/internal/event"
	"miniblog/test/wait"
)

// onServers is set for the tests when they run on a cluster: the URLs of its
// servers. Then each bus that a test starts is three, that share a log of their
// own, and each connection goes to the next of them.
var onServers = os.Getenv("CONTRACT_ON_SERVERS")

// TestTheContractHoldsOnACluster runs the tests of this package again, with three
// buses on three servers in the place of one bus.
func TestTheContractHoldsOnACluster(t *testing.T) {
	if onServers != "" {
		t.Skip("this is it")
	}
	t.Parallel()
	servers := natstest.Start(t, natstest.Options{Accounts: 100, MaxStore: "100GB"})
	command := exec.CommandContext(t.Context(), os.Args[0], "-test.v", "-test.timeout=5m", "-test.run=^Test")
	command.Env = append(os.Environ(), "CONTRACT_ON_SERVERS="+servers.URL())
	out, err := command.CombinedOutput()
	if passed := len(regexp.MustCompile(`(?m)^--- PASS`).FindAll(out, -1)); err != nil || passed < 20 {
		t.Errorf("%d tests passed, and then: %v\n%s", passed, err, out)
	}
	for _, skipped := range regexp.MustCompile(`(?m)^--- SKIP.*\n.*`).FindAll(out, -1) {
		t.Logf("%s", skipped)
	}
}

// oneBus says that a test is about the disk of one machine.
func oneBus(t *testing.T) {
	t.Helper()
	if onServers != "" {
		t.Skip("it is about the disk of one bus")
	}
}

var (
	accounts  atomic.Int32
	clusterOf sync.Map // by the first bus's folder: *members
)

// members are the folders of three buses, and the servers as they reach them.
type members struct {
	servers string
	dirs    []string
}

// membersOf returns the buses of which the first has the folder dir: those that
// ran before, or new ones.
func membersOf(t testing.TB, dir string) *members {
	m, known := clusterOf.Load(dir)
	if !known {
		m = &members{natstest.Account(onServers, int(accounts.Add(1))), []string{dir, t.TempDir(), t.TempDir()}}
		clusterOf.Store(dir, m)
	}
	return m.(*members)
}

// copied is a copy of the log that a bus of the cluster has open.
type copied interface {
	End(context.Context) (event.Sequence, error)
}

// startCluster starts three buses as startBusOn starts one.
func startCluster(t testing.TB, dir string, env ...string) *runningBus {
	t.Helper()
	m := membersOf(t, dir)
	buses := make([]*runningBus, len(m.dirs))
	var starting sync.WaitGroup
	for i, dir := range m.dirs {
		own := append([]string{"DATA_DIR", dir, "NATS_URL", m.servers}, env...)
		starting.Go(func() { buses[i] = startOne(t, dir, own...) })
	}
	starting.Wait()
	if t.Failed() {
		t.FailNow()
	}
	wait.For(t, "an owner of each subscriber", func() bool {
		return !strings.Contains(buses[0].send("GET", "/subscribers", "").body, `"unowned"`)
	})
	return spread(t, dir, buses)
}

// spread returns a bus whose connections go to the buses in turn, each when that
// one knows what was published before. Its clients open one for each request.
func spread(t testing.TB, dir string, buses []*runningBus) *runningBus {
	listener, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &runningBus{t: t, dir: dir, addr: listener.Addr().String(), url: "http://" + listener.Addr().String(), done: make(chan struct{})}
	b.client = &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{DisableCompression: true, DisableKeepAlives: true}}
	b.kill = func() {
		for _, one := range buses {
			one.kill()
		}
	}
	go func() {
		for turn := 0; ; turn++ {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go buses[turn%len(buses)].serve(conn)
		}
	}()
	go func() {
		for _, one := range buses {
			<-one.done
			if b.err == nil {
				b.err = one.err
			}
		}
		listener.Close()
		close(b.done)
	}()
	t.Cleanup(b.stop)
	return b
}

// serve passes a connection on to the bus.
func (b *runningBus) serve(near net.Conn) {
	defer near.Close()
	if log, ok := b.log.Load().(copied); ok {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		log.End(ctx) // what has failed is seen in the answer
		cancel()
	}
	far, err := net.Dial("tcp", b.addr)
	if err != nil {
		return
	}
	defer far.Close()
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		if _, err := io.Copy(far, near); err != nil { // the bus wants no more of it, and the client is to see the answer
			io.Copy(io.Discard, near)
		}
		far.(*net.TCPConn).CloseWrite()
	}()
	io.Copy(near, far)
	near.(*net.TCPConn).CloseWrite()
	near.SetReadDeadline(time.Now().Add(5 * time.Second))
	<-sent
}
