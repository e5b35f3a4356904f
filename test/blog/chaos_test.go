package blog

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"miniblog/event-bus/cluster/natstest"
	"miniblog/internal/event"
	"miniblog/test/harness"
)

var chaos = flag.Duration("chaos", 20*time.Second, "how long the cluster is made to fail; 10m is a good night's test")

// TestNothingAcknowledgedIsLostInAClusterThatFails runs the blog on three buses
// and three NATS servers, and kills, stops, cuts off and wipes them under load,
// one of each kind at a time: whatever a cluster of three must bear.
func TestNothingAcknowledgedIsLostInAClusterThatFails(t *testing.T) {
	seed := *seed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("the choices can be repeated with -seed=%d", seed)
	c := newChaos(t, rand.New(rand.NewPCG(seed, 0)))
	blog := c.blog
	var book ledger
	r := &registers{buses: blog.Buses, began: time.Now()}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var load sync.WaitGroup
	for i := range 4 {
		w := writer{ledger: &book, api: blog.API, name: fmt.Sprintf("writer %d", i), keyed: i%2 == 0, choose: rand.New(rand.NewPCG(seed, uint64(i+1)))}
		next := w.comment
		if i == 0 {
			next = w.post
		}
		load.Go(func() { w.write(ctx, 5*pace, next) })
	}
	for i := range 5 {
		load.Go(func() { r.client(ctx, i) })
	}
	var batches map[string]event.Sequence
	var streamed reader
	load.Go(func() { batches = r.batches(ctx, "b") })
	load.Go(func() { streamed = r.stream(ctx) })

	var done []string
	for end := time.Now().Add(*chaos); time.Now().Before(end); {
		done = append(done, c.strike())
		comments, stored := book.acknowledged(commentKind), r.stored.Load()
		harness.Eventually(t, 2*limit, func() error { // a slow machine needs more time to show anything
			if book.acknowledged(commentKind) < comments+2 || r.stored.Load() < stored+2 {
				return errors.New("nothing is stored any more after: " + done[len(done)-1])
			}
			return nil
		})
	}
	stop()
	load.Wait()
	t.Logf("what happened: %s", strings.Join(done, "; "))
	posts, comments := book.entries(postKind), book.entries(commentKind)
	t.Logf("%d posts and %d comments were written, %d and %d acknowledged; %d batches; %d events streamed",
		len(posts), len(comments), acknowledged(posts), acknowledged(comments), len(batches), streamed.last)
	blog.AwaitReady()
	book.finishKeyed(t, blog.API)
	events := c.decidedLog()
	storedOnce(t, events)
	book.check(t, events)
	r.mustBeLinearizable(t)
	c.copiesAreEqual(len(events))
	places := map[string]event.Sequence{}
	for i, e := range events {
		places[e.ID] = event.Sequence(i + 1)
	}
	for id, first := range batches {
		if at := []event.Sequence{places[id+"/1"], places[id+"/2"], places[id+"/3"]}; !slices.Equal(at, []event.Sequence{first, first + 1, first + 2}) {
			t.Errorf("the batch %s was acknowledged at %d, and is at %d", id, first, at)
		}
	}
	for id, at := range streamed.ids {
		if places[id] != at {
			t.Errorf("the event %s was streamed as %d, and is at %d", id, at, places[id])
		}
	}
	checkCopy(t, blog.Copy(0), slices.DeleteFunc(events, func(e harness.Event) bool { return e.Type == "Register" || e.Type == "Batch" }))
	for _, p := range blog.Processes() {
		if strings.Contains(string(p.Output()), "the database is dropped") {
			t.Errorf("the projection of %s started over", p.Name)
		}
	}
}

// chaosCluster is the blog, what it runs on, and every link between them.
type chaosCluster struct {
	t       *testing.T
	choose  *rand.Rand
	servers *natstest.Cluster
	links   [][]*natstest.Link // from each bus to each server
	blog    *harness.Blog
}

func newChaos(t *testing.T, choose *rand.Rand) *chaosCluster {
	c := &chaosCluster{t: t, choose: choose, servers: natstest.Start(t, natstest.Options{Links: true})}
	var urls []string // of each bus
	for range 3 {
		var links []*natstest.Link
		var through []string
		for _, s := range c.servers.Servers {
			link := natstest.NewLink(t, strings.TrimPrefix(s.URL, "nats://"))
			links, through = append(links, link), append(through, "nats://"+link.Addr)
		}
		c.links, urls = append(c.links, links), append(urls, strings.Join(through, ","))
	}
	c.blog = harness.StartBlog(t, harness.Config{Servers: urls})
	return c
}

// fault is something that fails, and how it is mended.
type fault struct {
	name string
	mend func()
}

// strike lets one server or its links fail, or one bus, or both, for a moment,
// and says what it did. What it leaves is whole.
func (c *chaosCluster) strike() string {
	var faults []fault
	if c.choose.IntN(4) > 0 {
		faults = append(faults, c.server(c.choose.IntN(3)))
	}
	if c.choose.IntN(4) > 0 || len(faults) == 0 {
		faults = append(faults, c.bus(c.choose.IntN(3)))
	}
	time.Sleep(100*time.Millisecond + time.Duration(c.choose.Int64N(int64(1500*time.Millisecond))))
	var names []string
	for _, f := range faults {
		f.mend()
		names = append(names, f.name)
	}
	for _, s := range c.servers.Servers {
		s.WaitReady() // the next must not take the majority
	}
	return strings.Join(names, " and ")
}

func (c *chaosCluster) server(i int) fault {
	s, name := c.servers.Servers[i], fmt.Sprintf("server %d ", i+1)
	links := func(do func(*natstest.Link)) {
		for j := range c.servers.Servers {
			if j != i {
				do(c.servers.Links[i][j])
				do(c.servers.Links[j][i])
			}
		}
	}
	switch c.choose.IntN(5) {
	case 0:
		s.Kill()
		return fault{name + "killed", s.Start}
	case 1:
		s.Kill()
		s.Wipe()
		return fault{name + "killed and wiped", s.Start}
	case 2:
		s.Signal(syscall.SIGSTOP)
		return fault{name + "stopped", func() { s.Signal(syscall.SIGCONT) }}
	case 3:
		links((*natstest.Link).Cut)
		return fault{name + "cut off", func() { links((*natstest.Link).Heal) }}
	}
	links((*natstest.Link).Stall)
	return fault{name + "unheard", func() { links((*natstest.Link).Heal) }}
}

func (c *chaosCluster) bus(i int) fault {
	p, name := c.blog.Buses[i], fmt.Sprintf("bus %d ", i+1)
	links := func(do func(*natstest.Link)) {
		for _, link := range c.links[i] {
			do(link)
		}
	}
	switch c.choose.IntN(5) {
	case 0:
		p.Kill()
		return fault{name + "killed", p.Start}
	case 1:
		p.Kill()
		c.empty(p.Dir)
		return fault{name + "killed and wiped", p.Start}
	case 2:
		c.signal(p, syscall.SIGSTOP)
		return fault{name + "stopped", func() { c.signal(p, syscall.SIGCONT) }}
	case 3:
		links((*natstest.Link).Cut)
		return fault{name + "cut off", func() { links((*natstest.Link).Heal) }}
	}
	links((*natstest.Link).Stall)
	return fault{name + "unheard", func() { links((*natstest.Link).Heal) }}
}

func (c *chaosCluster) signal(p *harness.Process, signal syscall.Signal) {
	c.t.Helper()
	if err := syscall.Kill(p.Pid(), signal); err != nil {
		c.t.Fatal(err)
	}
}

func (c *chaosCluster) empty(dir string) {
	c.t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	for _, file := range files {
		err = errors.Join(err, os.RemoveAll(file))
	}
	if err != nil {
		c.t.Fatal(err)
	}
}

// decidedLog waits until every comment is decided, and returns the log.
func (c *chaosCluster) decidedLog() (events []harness.Event) {
	c.t.Helper()
	harness.Eventually(c.t, 2*limit, func() (err error) {
		if events, err = c.blog.ListEvents(c.t.Context()); err != nil {
			return err
		}
		open := map[string]bool{}
		for _, e := range events {
			switch e.Type {
			case "CommentCreated":
				open[decode(c.t, e).ID] = true
			case "CommentUpdated":
				delete(open, decode(c.t, e).ID)
			}
		}
		if len(open) > 0 {
			return fmt.Errorf("%d comments are not decided", len(open))
		}
		return nil
	})
	return events
}

// copiesAreEqual reads the log at every bus to its end: n lines, the same bytes.
func (c *chaosCluster) copiesAreEqual(n int) {
	c.t.Helper()
	var first string
	for _, bus := range c.blog.Buses {
		harness.Eventually(c.t, limit, func() error { // which it says when it knows it
			_, err := fetch(c.t.Context(), fmt.Sprintf("%s/events?after=%d", bus.URL, uint64(beyond)))
			return err
		})
		text := string(harness.Must(fetch(c.t.Context(), bus.URL+"/events"))(c.t).Body)
		if got := strings.Count(text, "\n"); got != n {
			c.t.Errorf("%s has %d events, not %d", bus.Name, got, n)
		}
		if first == "" {
			first = text
		}
		if text != first {
			c.t.Errorf("%s has other lines than %s", bus.Name, c.blog.Buses[0].Name)
		}
	}
}
