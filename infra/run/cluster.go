package main

import (
	"fmt"
	"path/filepath"
	"strings"
)

// In a cluster: three NATS servers, three buses, and in front of the buses, at
// the event bus's own port, a relay.
const copies = 3

// Ports of the i-th of them, before the shift.
func natsPort(i int) int    { return 4221 + i }
func routePort(i int) int   { return 6221 + i }
func monitorPort(i int) int { return 8221 + i }
func busPort(i int) int     { return 4015 + 10*i }

func (b *blog) addCluster() {
	var servers []string
	for i := range copies {
		name := fmt.Sprintf("nats-%d", i+1)
		server := program{
			name: name, binary: "nats-server", does: "keeps the order of events",
			port: monitorPort(i), more: []int{natsPort(i) + b.shift, routePort(i) + b.shift}, readyPath: "/healthz", data: name,
		}
		folder := filepath.Join(b.data, name)
		server.args = []string{"--config", filepath.Join(folder, configName)}
		server.log = filepath.Join(folder, logName)
		b.servers = append(b.servers, server)
		servers = append(servers, fmt.Sprintf("nats://127.0.0.1:%d", natsPort(i)+b.shift))
	}
	for i := range copies {
		name := fmt.Sprintf("event-bus-%d", i+1)
		b.buses = append(b.buses, program{
			name: name, binary: "event-bus", does: "stores every event",
			port: busPort(i), data: name, env: []string{"NATS_URL=" + strings.Join(servers, ","), "COPY_NAME=" + name},
		})
	}
	b.front = &program{name: "event-bus", does: "leads to one of the buses that are ready", port: 4005 + b.shift}
}

// What a NATS server has in its folder, beside its store.
const (
	configName = "nats.conf"
	logName    = "nats.log"
)

func natsFile(server program) string { return filepath.Join(server.data, configName) }

// natsConfig is the configuration of the i-th NATS server. Its log has a file, as
// it says much at each start.
func (b *blog) natsConfig(i int) string {
	var routes []string
	for i := range copies {
		routes = append(routes, fmt.Sprintf("nats://127.0.0.1:%d", routePort(i)+b.shift))
	}
	server := b.servers[i]
	return fmt.Sprintf(`# Written by make run CLUSTER=1 at each start.
server_name: %s
listen: 127.0.0.1:%d
http: 127.0.0.1:%d
log_file: %q
log_size_limit: 4MB
log_max_num: 2
jetstream { store_dir: %q, sync_interval: always, max_file_store: 4GB, max_memory_store: 64MB }
cluster { name: miniblog, listen: 127.0.0.1:%d, routes: [%s] }
# The buses ask all servers how they store, which is the system account's to answer.
accounts {
  SYS { exports: [{service: "$SYS.REQ.SERVER.PING.JSZ", response_type: stream}] }
  MINIBLOG {
    jetstream: enabled
    users: [{user: miniblog, password: miniblog}]
    imports: [{service: {account: SYS, subject: "$SYS.REQ.SERVER.PING.JSZ"}}]
  }
}
system_account: SYS
no_auth_user: miniblog # only this machine reaches it, and so it does the buses
`, server.name, natsPort(i)+b.shift, server.port, server.log, filepath.Join(server.data, "store"), routePort(i)+b.shift, strings.Join(routes, ", "))
}
