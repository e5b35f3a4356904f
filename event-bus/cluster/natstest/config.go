package natstest

import (
	"fmt"
	"strings"
)

// config is what a server's nats.conf says.
type config struct {
	name                   string
	client, monitor, route string   // addresses
	others                 []string // URLs of the other servers' routes
	store                  string
	Options
}

// String returns the file.
func (c config) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "server_name: %s\nlisten: %s\nhttp: %s\n", c.name, c.client, c.monitor)
	fmt.Fprintf(&b, "jetstream { store_dir: %q, sync_interval: %s, max_file_store: %s, max_memory_store: 64MB }\n", c.store, c.SyncInterval, c.MaxStore)
	advertise := ""
	if c.Links { // no server may find a way around a link
		advertise = `, no_advertise: true, advertise: "127.0.0.1:1"`
	}
	fmt.Fprintf(&b, "cluster { name: miniblog, listen: %s, routes: [%s]%s }\n", c.route, strings.Join(c.others, ", "), advertise)
	b.WriteString(`system_account: SYS
accounts {
  SYS {
    users: [{user: system, password: system}]
    exports: [{service: "$SYS.REQ.SERVER.PING.JSZ", response_type: stream}]
  }
`)
	user := "user: miniblog, password: miniblog"
	if c.Nkey != "" {
		user = "nkey: " + c.Nkey
	}
	c.account(&b, "MINIBLOG", user, "enabled")
	for i := range c.Accounts {
		c.account(&b, fmt.Sprintf("A%d", i+1), fmt.Sprintf("user: user%d, password: secret", i+1), "{max_file: 300MB}")
	}
	b.WriteString("}\n")
	if c.Nkey == "" {
		b.WriteString("no_auth_user: miniblog\n")
	}
	return b.String()
}

func (c config) account(b *strings.Builder, name, user, jetstream string) {
	fmt.Fprintf(b, "  %s {\n    jetstream: %s\n    users: [{%s}]\n    imports: [{service: {account: SYS, subject: \"$SYS.REQ.SERVER.PING.JSZ\"}}]\n  }\n", name, jetstream, user)
}
