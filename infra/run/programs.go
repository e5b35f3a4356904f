package main

import (
	"fmt"
	"os"
	"path/filepath"
)

// program is one of the six: what it is for, where it listens, what it is told.
type program struct {
	name string
	does string
	port int
	data string   // its folder, "" if it stores nothing
	env  []string // NAME=value
}

func (p program) addr() string { return fmt.Sprintf("localhost:%d", p.port) }
func (p program) url() string  { return "http://" + p.addr() }

// blog returns the six programs, the event bus first: the others follow it.
// With a shift every port is moved, and everybody is told where the others are.
// What the environment sets already is left as it is, except for ADDR and
// DATA_DIR: six programs cannot share them.
func blog(data string, shift int) []program {
	programs := []program{
		{name: "event-bus", does: "stores every event", port: 4005, data: "event-bus"},
		{name: "posts", does: "takes posts", port: 4000, data: "posts"},
		{name: "comments", does: "takes comments", port: 4001, data: "comments"},
		{name: "query", does: "posts with their comments", port: 4002, data: "query"},
		{name: "moderation", does: "decides on comments", port: 4003},
		{name: "client", does: "the page", port: 3000},
	}
	url := map[string]string{}
	for i := range programs {
		p := &programs[i]
		p.port += shift
		url[p.name] = p.url()
		if p.data != "" {
			p.data = filepath.Join(data, p.data)
		}
	}
	told := []string{"LOG_FORMAT=text"}
	if shift != 0 {
		told = append(told,
			"EVENT_BUS_URL="+url["event-bus"], "ALLOWED_ORIGINS="+url["client"], "SUBSCRIBERS_FILE="+subscribersFile(data),
			"POSTS_URL="+url["posts"], "COMMENTS_URL="+url["comments"], "QUERY_URL="+url["query"])
	}
	for i := range programs {
		p := &programs[i]
		p.env = append(append(told[:len(told):len(told)], os.Environ()...), "ADDR="+p.addr()) // the last one counts
		if p.data != "" {
			p.env = append(p.env, "DATA_DIR="+p.data)
		}
	}
	return programs
}

func subscribersFile(data string) string { return filepath.Join(data, "subscribers.json") }

// writeSubscribers tells the event bus where its subscribers are when they are
// not at their usual ports.
func writeSubscribers(data string, programs []program) error {
	url := map[string]string{}
	for _, p := range programs {
		url[p.name] = p.url()
	}
	if err := os.MkdirAll(data, 0o755); err != nil {
		return err
	}
	text := fmt.Sprintf(`[
  {"name": "moderation", "url": "%s/events", "types": ["CommentCreated"], "replies": ["CommentModerated"]},
  {"name": "comments", "url": "%s/events", "types": ["CommentModerated"], "replies": ["CommentUpdated"]}
]
`, url["moderation"], url["comments"])
	return os.WriteFile(subscribersFile(data), []byte(text), 0o644)
}
