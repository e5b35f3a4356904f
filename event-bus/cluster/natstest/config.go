package natstest

import (
	"cmp"
	"fmt"
	"strings"
)

// Config is what the nats.conf of one of the servers says.
type Config struct {
	Name                   string
	Client, Monitor, Route string   // addresses
	Routes                 []string // addresses of the other servers
	Store                  string   // a folder
	Options
}

// String returns the file.
func (c Config) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "server_name: %s\nlisten: %s\nhttp: %s\n", c.Name, c.Client, c.Monitor)
	fmt.Fprintf(&b, "jetstream { store_dir: %q, sync_interval: %s, max_file_store: %s, max_memory_store: 64MB }\n",
		c.Store, cmp.Or(c.SyncInterval, "always"), cmp.Or(c.MaxStore, "1GB"))
	advertise := ""
	if c.Links { // no server may find a way around a link
		advertise = `, no_advertise: true, advertise: "127.0.0.1:1"`
	}
	fmt.Fprintf(&b, "cluster { name: miniblog, listen: %s, routes: [\"nats://%s\"]%s }\n", c.Route, strings.Join(c.Routes, `", "nats://`), advertise)
	if c.operator != nil {
		c.operator.write(&b)
		return b.String()
	}
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

func (c Config) account(b *strings.Builder, name, user, jetstream string) {
	fmt.Fprintf(b, "  %s {\n    jetstream: %s\n    users: [{%s}]\n    imports: [{service: {account: SYS, subject: \"$SYS.REQ.SERVER.PING.JSZ\"}}]\n  }\n", name, jetstream, user)
}
