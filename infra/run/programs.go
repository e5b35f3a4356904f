package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
)

// program is a process of the blog: what it is for, where it listens, what it
// is told.
type program struct {
	name      string
	binary    string // its file, if that is not its name
	args      []string
	does      string
	port      int
	more      []int    // other ports that it listens on
	readyPath string   // answers 200 when it is ready
	data      string   // its folder, "" if it stores nothing
	log       string   // the file that it logs to, "" if to its output
	env       []string // NAME=value
}

func (p program) addr() string { return fmt.Sprintf("localhost:%d", p.port) }
func (p program) url() string  { return "http://" + p.addr() }

// blog is what runs. Each of stages starts when the one before it is ready, and
// stops when the one after it has stopped.
type blog struct {
	servers []program // NATS's, in a cluster
	buses   []program // one, or a cluster's copies
	users   []program // those that follow the bus
	data    string    // their folder
	shift   int
	front   *program // what is at the event bus's port in a cluster; not a process
}

func (b *blog) stages() [][]program { return [][]program{b.servers, b.buses, b.users} }
func (b *blog) programs() []program { return slices.Concat(b.stages()...) }

// listeners are all that need ports.
func (b *blog) listeners() []program {
	if b.front == nil {
		return b.programs()
	}
	return append(b.programs(), *b.front)
}

// newBlog returns the blog of a configuration. With a shift every port is moved,
// and everybody is told where the others are. What the environment sets already
// is left as it is, except for what several programs cannot share.
func newBlog(c config) *blog {
	b := &blog{data: c.data, shift: c.shift}
	if c.cluster {
		b.data = filepath.Join(c.data, "cluster") // the blog of one bus keeps its own
		b.addCluster()
	} else {
		b.buses = []program{{name: "event-bus", does: "stores every event", port: 4005, data: "event-bus"}}
	}
	b.users = []program{
		{name: "posts", does: "takes posts", port: 4000, data: "posts"},
		{name: "comments", does: "takes comments", port: 4001, data: "comments"},
		{name: "query", does: "posts with their comments", port: 4002, data: "query"},
		{name: "moderation", does: "decides on comments", port: 4003},
		{name: "client", does: "the page", port: 3000},
	}
	url := func(port int) string { return program{port: port + b.shift}.url() }
	told := []string{"LOG_FORMAT=text", "CONSOLE_URL=" + url(4005)}
	if b.shift != 0 {
		told = append(told,
			"EVENT_BUS_URL="+url(4005), "ALLOWED_ORIGINS="+url(3000), "SUBSCRIBERS_FILE="+b.subscribersFile(),
			"POSTS_URL="+url(4000), "COMMENTS_URL="+url(4001), "QUERY_URL="+url(4002))
	}
	for _, stage := range b.stages() {
		for i := range stage {
			p := &stage[i]
			p.port += b.shift
			if p.readyPath == "" {
				p.readyPath = "/readyz"
			}
			own := append([]string{"ADDR=" + p.addr()}, p.env...)
			if p.data != "" {
				p.data = filepath.Join(b.data, p.data)
				own = append(own, "DATA_DIR="+p.data)
			}
			p.env = slices.Concat(told, os.Environ(), own) // the last one counts
		}
	}
	return b
}

func (b *blog) subscribersFile() string { return filepath.Join(b.data, "subscribers.json") }

// writeFiles writes what the programs read at start.
func (b *blog) writeFiles() error {
	files := map[string]string{}
	if b.shift != 0 {
		files[b.subscribersFile()] = b.subscribers()
	}
	for i, server := range b.servers {
		files[natsFile(server)] = b.natsConfig(i)
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(name, []byte(files[name]), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// subscribers tells the event bus where its subscribers are when they are not
// at their usual ports.
func (b *blog) subscribers() string {
	return fmt.Sprintf(`[
  {"name": "moderation", "url": "http://localhost:%d/events", "types": ["CommentCreated"], "replies": ["CommentModerated"]},
  {"name": "comments", "url": "http://localhost:%d/events", "types": ["CommentModerated"], "replies": ["CommentUpdated"]}
]
`, 4003+b.shift, 4001+b.shift)
}
