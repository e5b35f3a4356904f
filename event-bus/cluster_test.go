package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nkeys"

	"miniblog/event-bus/cluster/natstest"
	"miniblog/test/harness"
)

// A copy that is behind and was asked for what comes after its own end used to
// look like a log that has lost events, for which services drop their data.
func TestALaggingCopyMakesNobodyDropTheirData(t *testing.T) {
	t.Parallel()
	servers := natstest.Start(t, natstest.Options{Links: true}) // and so the copy hears of no way around its links
	var links []*natstest.Link
	var through []string
	for _, s := range servers.Servers {
		link := natstest.NewLink(t, strings.TrimPrefix(s.URL, "nats://"))
		links, through = append(links, link), append(through, "nats://"+link.Addr)
	}
	first := startBusOn(t, t.TempDir(), "NATS_URL", servers.URL())
	lagging := startBusOn(t, t.TempDir(), "NATS_URL", strings.Join(through, ","))
	front := natstest.NewLink(t, first.addr)
	view := follow(t, "http://"+front.Addr)
	publish := func(from, to int) {
		for i := from; i <= to; i++ {
			first.publish(t, fmt.Sprintf(`{"type":"T","id":"%d"}`, i))
		}
	}
	publish(1, 10)
	view.await(t, 10)
	lagging.lines(t, 10)

	for _, link := range links {
		link.Stall()
	}
	publish(11, 15)
	view.await(t, 15)
	front.Cut()
	front.Lead(lagging.addr) // as a balancer does
	front.Heal()
	answer, err := http.Get("http://" + lagging.addr + "/events?after=15")
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("a copy that does not know event 15 answered who asks for what comes after it with %s", answer.Status)
	}
	publish(16, 16)
	for _, link := range links {
		link.Heal()
	}
	view.await(t, 16)
	if n := view.dropped.Load(); n > 0 {
		t.Errorf("the projection was dropped %d times", n)
	}
	http.DefaultClient.CloseIdleConnections()
}

func TestCredentialsOfTheCluster(t *testing.T) {
	t.Parallel()
	user, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	public := harness.Must(user.PublicKey())(t)
	seed := harness.Must(user.Seed())(t)
	dir := t.TempDir()
	file, other := filepath.Join(dir, "user.nk"), filepath.Join(dir, "other")
	for name, text := range map[string][]byte{file: seed, other: []byte("nothing\n")} {
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	servers := natstest.Start(t, natstest.Options{Nkey: public})
	b := startBusOn(t, t.TempDir(), "NATS_URL", servers.URL(), "NATS_CREDENTIALS_FILE", file)
	b.publish(t, `{"type":"T","id":"1"}`)
	b.lines(t, 1)
	for file, want := range map[string]string{
		other:                      "holds neither a user's credentials nor the seed of an nkey",
		filepath.Join(dir, "none"): "no such file",
		"":                         "uthorization",
	} {
		if err := runOnce(t, "NATS_URL", servers.URL(), "NATS_CREDENTIALS_FILE", file); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("with the credentials %q it ended with %v, not %q", file, err, want)
		}
	}
}

func TestCredentialsThatAnOperatorHasSigned(t *testing.T) {
	t.Parallel()
	servers := natstest.Start(t, natstest.Options{JWT: true})
	file := filepath.Join(t.TempDir(), "user.creds")
	if err := os.WriteFile(file, servers.Credentials, 0o600); err != nil {
		t.Fatal(err)
	}
	b := startBusOn(t, t.TempDir(), "NATS_URL", servers.URL(), "NATS_CREDENTIALS_FILE", file)
	b.publish(t, `{"type":"T","id":"1"}`)
	b.lines(t, 1)
	if err := runOnce(t, "NATS_URL", servers.URL()); err == nil || !strings.Contains(err.Error(), "uthorization") {
		t.Errorf("without credentials it ended with %v", err)
	}
}
