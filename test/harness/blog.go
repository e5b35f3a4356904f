package harness

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// Config is what a blog is made of. The zero value is one process of each
// service.
type Config struct {
	Copies      int          // of posts, comments, query and moderation, behind round-robin proxies; 0 is 1
	Subscribers []Subscriber // of the bus, besides moderation and comments
	BusURL      string       // a bus that the test brings itself, instead of ours
	Servers     []string     // of a NATS cluster: a bus for each, with this NATS_URL, behind a round-robin proxy
}

// Subscriber is an entry of the bus's subscribers file.
type Subscriber struct {
	Name    string   `json:"name"`
	URL     string   `json:"url"`
	Types   []string `json:"types,omitempty"`
	From    string   `json:"from,omitempty"`
	Timeout string   `json:"timeout,omitempty"`
	Replies []string `json:"replies,omitempty"`
}

// Service is the copies of one program, and where callers reach them.
type Service struct {
	URL    string // of the only copy, or of the proxy
	Copies []*Process
}

// Blog is all the processes. It embeds the API that they offer together.
type Blog struct {
	API
	Bus                                *Process   // nil if the test brought its own
	Buses                              []*Process // it, and the others of a cluster
	Posts, Comments, Query, Moderation Service
	Client                             *Process
	PageURL                            string

	t           testing.TB
	subscribers []Subscriber
}

// NewBlog returns a blog whose processes do not run yet.
func NewBlog(t testing.TB, config Config) *Blog {
	t.Helper()
	b := &Blog{t: t}
	busURL := config.BusURL
	switch {
	case len(config.Servers) > 0:
		for i, servers := range config.Servers {
			b.Buses = append(b.Buses, NewProcess(t, "event-bus", fmt.Sprintf("event-bus-%d", i+1), map[string]string{"NATS_URL": servers}))
		}
		busURL = newProxy(t, b.Buses)
	case busURL == "":
		b.Buses = []*Process{NewProcess(t, "event-bus", "event-bus", nil)}
		busURL = b.Buses[0].URL
	}
	if len(b.Buses) > 0 {
		b.Bus = b.Buses[0]
	}
	// The page's origin must be known to the services, and theirs to the page.
	b.Client = NewProcess(t, "client", "client", nil)
	b.PageURL = b.Client.URL
	env := map[string]string{"EVENT_BUS_URL": busURL, "ALLOWED_ORIGINS": b.PageURL}
	copies := max(config.Copies, 1)
	b.Posts = newService(t, "posts", copies, env)
	b.Comments = newService(t, "comments", copies, env)
	b.Query = newService(t, "query", copies, env)
	b.Moderation = newService(t, "moderation", copies, env)
	b.Client.Setenv("POSTS_URL", b.Posts.URL)
	b.Client.Setenv("COMMENTS_URL", b.Comments.URL)
	b.Client.Setenv("QUERY_URL", b.Query.URL)
	b.API = API{PostsURL: b.Posts.URL, CommentsURL: b.Comments.URL, QueryURL: b.Query.URL, BusURL: busURL}
	b.subscribers = append([]Subscriber{
		{Name: "moderation", URL: b.Moderation.URL + "/events", Types: []string{"CommentCreated"}},
		{Name: "comments", URL: b.Comments.URL + "/events", Types: []string{"CommentModerated"}},
	}, config.Subscribers...)
	for _, bus := range b.Buses {
		SetSubscribers(bus, b.subscribers)
	}
	return b
}

// StartBlog returns a blog that is ready.
func StartBlog(t testing.TB, config Config) *Blog {
	t.Helper()
	b := NewBlog(t, config)
	for _, p := range b.Processes() {
		p.Start()
	}
	b.AwaitReady()
	return b
}

// StartBus returns a bus that is ready, alone.
func StartBus(t testing.TB, subscribers ...Subscriber) *Process {
	t.Helper()
	bus := NewProcess(t, "event-bus", "event-bus", nil)
	SetSubscribers(bus, subscribers)
	bus.Start()
	bus.AwaitReady()
	return bus
}

// SetSubscribers replaces the list that the bus reads at its next start.
func SetSubscribers(bus *Process, subscribers []Subscriber) {
	bus.t.Helper()
	if subscribers == nil {
		subscribers = []Subscriber{}
	}
	text, err := json.Marshal(subscribers)
	if err != nil {
		bus.t.Fatal(err)
	}
	file := filepath.Join(filepath.Dir(bus.output), "subscribers.json")
	if err := os.WriteFile(file, text, 0o644); err != nil {
		bus.t.Fatal(err)
	}
	bus.Setenv("SUBSCRIBERS_FILE", file)
}

func newService(t testing.TB, program string, copies int, env map[string]string) Service {
	t.Helper()
	var s Service
	for i := range copies {
		name := program
		if copies > 1 {
			name = fmt.Sprintf("%s-%d", program, i+1)
		}
		s.Copies = append(s.Copies, NewProcess(t, program, name, env))
	}
	s.URL = s.Copies[0].URL
	if copies > 1 {
		s.URL = newProxy(t, s.Copies)
	}
	return s
}

// Processes returns every process of the blog, buses first.
func (b *Blog) Processes() []*Process {
	var all []*Process
	all = append(all, b.Buses...)
	for _, s := range []Service{b.Posts, b.Comments, b.Query, b.Moderation} {
		all = append(all, s.Copies...)
	}
	return append(all, b.Client)
}

// AwaitReady waits for every process that runs.
func (b *Blog) AwaitReady() {
	b.t.Helper()
	for _, p := range b.Processes() {
		if p.run != nil {
			p.AwaitReady()
		}
	}
}

// Copy returns the API of one copy of each service, past the proxies.
func (b *Blog) Copy(i int) API {
	return API{
		PostsURL: b.Posts.Copies[i].URL, CommentsURL: b.Comments.Copies[i].URL,
		QueryURL: b.Query.Copies[i].URL, BusURL: b.BusURL,
	}
}
