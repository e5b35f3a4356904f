package natstest

import (
	"fmt"
	"strings"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"
)

// operator is who signs the accounts of servers that know their users by JWT: one
// account for the system, and one for the blog, with one user.
type operator struct {
	token              string
	system, systemName string // accounts: the token, and the public key that names it
	blog, blogName     string
	user               []byte // the file that the user has: token and seed
}

func newOperator() (o operator, err error) {
	var keys [4]nkeys.KeyPair
	var names [4]string
	for i, prefix := range []nkeys.PrefixByte{nkeys.PrefixByteOperator, nkeys.PrefixByteAccount, nkeys.PrefixByteAccount, nkeys.PrefixByteUser} {
		if keys[i], err = nkeys.CreatePair(prefix); err != nil {
			return o, err
		}
		if names[i], err = keys[i].PublicKey(); err != nil {
			return o, err
		}
	}
	o.systemName, o.blogName = names[1], names[2]
	const servers = "$SYS.REQ.SERVER.PING.JSZ"

	top := jwt.NewOperatorClaims(names[0])
	top.SystemAccount = o.systemName
	system := jwt.NewAccountClaims(o.systemName)
	system.Exports.Add(&jwt.Export{Name: "servers", Subject: servers, Type: jwt.Service, ResponseType: jwt.ResponseTypeStream})
	blog := jwt.NewAccountClaims(o.blogName)
	blog.Imports.Add(&jwt.Import{Name: "servers", Account: o.systemName, Subject: servers, Type: jwt.Service})
	blog.Limits.JetStreamLimits = jwt.JetStreamLimits{MemoryStorage: jwt.NoLimit, DiskStorage: jwt.NoLimit, Streams: jwt.NoLimit, Consumer: jwt.NoLimit}
	user := jwt.NewUserClaims(names[3])

	var token string
	for _, c := range []struct {
		claims jwt.Claims
		by     nkeys.KeyPair
		into   *string
	}{{top, keys[0], &o.token}, {system, keys[0], &o.system}, {blog, keys[0], &o.blog}, {user, keys[2], &token}} {
		if *c.into, err = c.claims.Encode(c.by); err != nil {
			return o, err
		}
	}
	seed, err := keys[3].Seed()
	if err != nil {
		return o, err
	}
	o.user, err = jwt.FormatUserConfig(token, seed)
	return o, err
}

// write adds the part of nats.conf that says who may connect.
func (o *operator) write(b *strings.Builder) {
	fmt.Fprintf(b, "operator: %s\nsystem_account: %s\nresolver: MEMORY\nresolver_preload: { %s: %s, %s: %s }\n",
		o.token, o.systemName, o.systemName, o.system, o.blogName, o.blog)
}
