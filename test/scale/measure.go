package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"golang.org/x/sync/errgroup"

	"miniblog/event-bus/cluster"
	"miniblog/event-bus/eventlog"
	"miniblog/internal/event"
)

// appender is a log, of one machine or of a cluster.
type appender interface {
	Append(ctx context.Context, lines []event.Line) ([]eventlog.Position, error)
}

// measureAlone measures the log of one machine, with its disk.
func measureAlone(ctx context.Context) (order, error) {
	dir, err := os.MkdirTemp("", "miniblog-scale-")
	if err != nil {
		return order{}, err
	}
	defer os.RemoveAll(dir)
	log, err := eventlog.Open(dir, eventlog.Options{})
	if err != nil {
		return order{}, err
	}
	o, err := measure(ctx, log)
	o.Name, o.InFlight = "one machine", 1
	return o, errors.Join(err, log.Close())
}

// measureCluster measures a copy on three NATS servers, all in this process and
// on this disk. With machines of their own it is faster under load, and a group
// takes the network's time besides.
func measureCluster(ctx context.Context) (o order, err error) {
	dir, err := os.MkdirTemp("", "miniblog-scale-")
	if err != nil {
		return order{}, err
	}
	defer os.RemoveAll(dir)
	urls, stop, err := startServers(dir)
	defer stop()
	if err != nil {
		return order{}, err
	}
	copyDir := filepath.Join(dir, "copy")
	if err := os.Mkdir(copyDir, 0o755); err != nil {
		return order{}, err
	}
	log, err := cluster.Open(ctx, cluster.Config{Servers: strings.Join(urls, ","), Dir: copyDir})
	if err != nil {
		return order{}, err
	}
	o, err = measure(ctx, log)
	o.Name, o.InFlight = "three servers", 1 // as event-bus/cluster has it while none is full
	return o, errors.Join(err, log.Close())
}

// How it is measured: publications of one event, one after the other, give what
// a group takes; large ones, several at once, give what an event takes.
const (
	singleFor = 3 * time.Second
	large     = 1000 // events
	larges    = 200
	atOnce    = 8
)

func measure(ctx context.Context, log appender) (order, error) {
	var single []time.Duration
	for end := time.Now().Add(singleFor); time.Now().Before(end); {
		lines, err := makeLines(1)
		if err != nil {
			return order{}, err
		}
		begun := time.Now()
		if _, err := log.Append(ctx, lines); err != nil {
			return order{}, err
		}
		single = append(single, time.Since(begun))
	}
	slices.Sort(single)

	waiting := make(chan []event.Line, larges)
	for range larges {
		lines, err := makeLines(large)
		if err != nil {
			return order{}, err
		}
		waiting <- lines
	}
	close(waiting)
	var group errgroup.Group
	begun := time.Now()
	for range atOnce {
		group.Go(func() error {
			for lines := range waiting {
				if _, err := log.Append(ctx, lines); err != nil {
					return err
				}
			}
			return nil
		})
	}
	err := group.Wait()
	perEvent := time.Since(begun) / (large * larges)
	return order{Group: max(single[len(single)/2]-perEvent, 0), Event: perEvent, MostIn: groupBytes / lineBytes}, err
}

// A message of the cluster holds groupBytes of lines, and lineBytes is what an
// event has on average (docs/performance.md).
const (
	groupBytes = 768 << 10
	lineBytes  = 462
)

func makeLines(n int) ([]event.Line, error) {
	lines := make([]event.Line, n)
	for i := range lines {
		id := event.NewID()
		e := event.New(id, "/comments", event.CommentCreated, id, event.Comment{ID: id, PostID: id, Content: strings.Repeat("a word ", 20), Status: event.Pending})
		var err error
		if lines[i], err = event.NewLine(&e); err != nil {
			return nil, err
		}
	}
	return lines, nil
}

// startServers runs three NATS servers in this process. stop ends those that
// have started.
func startServers(dir string) (urls []string, stop func(), err error) {
	var servers []*server.Server
	stop = func() {
		for _, s := range servers {
			s.Shutdown()
			s.WaitForShutdown()
		}
	}
	routes, err := freeAddresses(3) // JetStream asks for all of them from the start
	if err != nil {
		return nil, stop, err
	}
	for i, route := range routes {
		file := filepath.Join(dir, fmt.Sprintf("nats-%d.conf", i))
		config := fmt.Sprintf(`server_name: n%d
listen: "127.0.0.1:-1"
jetstream { store_dir: %q, sync_interval: always, max_file_store: 4GB, max_memory_store: 64MB }
cluster { name: scale, listen: %q, routes: ["nats://%s"] }
accounts {
  SYS { exports: [{service: "$SYS.REQ.SERVER.PING.JSZ", response_type: stream}] }
  MINIBLOG { jetstream: enabled, users: [{user: m, password: m}], imports: [{service: {account: SYS, subject: "$SYS.REQ.SERVER.PING.JSZ"}}] }
}
system_account: SYS
no_auth_user: m
`, i, filepath.Join(dir, fmt.Sprintf("nats-%d", i)), route, strings.Join(routes, `", "nats://`))
		if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
			return nil, stop, err
		}
		options, err := server.ProcessConfigFile(file)
		if err != nil {
			return nil, stop, err
		}
		options.NoSigs = true
		s, err := server.NewServer(options)
		if err != nil {
			return nil, stop, err
		}
		servers = append(servers, s)
		s.Start()
	}
	for i, s := range servers {
		if !s.ReadyForConnections(30 * time.Second) {
			return nil, stop, fmt.Errorf("the NATS server %d does not start", i)
		}
		urls = append(urls, s.ClientURL())
	}
	return urls, stop, nil
}

// freeAddresses returns addresses of this machine that nobody listens on.
func freeAddresses(n int) (addresses []string, err error) {
	for range n {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer listener.Close() // when all are known, so that they differ
		addresses = append(addresses, listener.Addr().String())
	}
	return addresses, nil
}
