package main

import (
	"fmt"
	"math"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// figures are rows of docs/performance.md.
type figures struct {
	Publish       float64 // events/s, one a request
	Create        float64 // posts/s at one posts
	Pages         float64 // GET /posts a second at one query
	Deliveries    float64 // of live events to followers, a second
	FollowerBytes float64 // memory of a follower
	Pushed        float64 // events/s to one subscriber that takes 1 ms
	History       float64 // events/s to one reader, zstd
	JoinMillion   float64 // seconds, an empty query
	JoinTen       float64 // seconds, the same with ten million
	EventBytes    float64 // on disk
}

// row finds a figure in docs/performance.md: the first number after the name.
type row struct {
	pattern string
	into    *float64
}

func readFigures(path string) (figures, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return figures{}, err
	}
	var f figures
	var followers, rate, megabytes float64
	for _, r := range []row{
		{`publish one event a request, durable, 64 connections \| (\d+)/s`, &f.Publish},
		{`create a post, durable, read-your-write, 32 connections \| (\d+)/s`, &f.Create},
		{`GET /posts, 20 with comments out of [^|]*\| (\d+)/s`, &f.Pages},
		{`(\d+) SSE followers, \d+ events/s`, &followers},
		{`SSE followers, (\d+) events/s`, &rate},
		{`SSE followers,[^|]*\| p99 [\d.]+ms, bus (\d+) MB`, &megabytes},
		{`push \d+ events of \d+ subjects to a subscriber[^|]*\| (\d+)/s`, &f.Pushed},
		{`events to one reader, zstd \| ([\d.]+) million/s`, &f.History},
		{`a query with an empty disk joins \d+ events \| ([\d.]+)s`, &f.JoinMillion},
		{`An empty query joins, s \|[^|]*\|[^|]*\|[^|]*\| ([\d.]+) \|`, &f.JoinTen},
		{`on disk \| ([\d.]+) bytes an event`, &f.EventBytes},
	} {
		match := regexp.MustCompile(r.pattern).FindSubmatch(text)
		if match == nil {
			return f, fmt.Errorf("%s has no figure for %q", path, r.pattern)
		}
		if *r.into, err = strconv.ParseFloat(string(match[1]), 64); err != nil {
			return f, err
		}
	}
	f.History *= 1e6
	f.Deliveries = followers * rate
	f.FollowerBytes = megabytes * 1e6 / followers
	return f, nil
}

func (a assumptions) average() float64 { return a.Events / (a.Years * 365 * 24 * 3600) }
func (a assumptions) busiest() float64 { return a.Peak * a.average() }

// tier is something of which there may be more than one.
type tier struct {
	Name             string
	Capacity, Demand float64
	Unit             string
}

func (t tier) needed() float64 { return math.Ceil(t.Demand / t.Capacity) }

// tiers says what the busiest hour asks of each. Each machine has two cores.
func tiers(f figures, a assumptions) []tier {
	events := a.busiest()
	perPost := 1 + a.PerPost*a.EventsComment
	comments := events * a.PerPost / perPost
	return []tier{
		{"publish at a bus", f.Publish, events, "events/s"},
		{"posts", f.Create, events / perPost, "posts/s"},
		{"push to moderation, then to comments", f.Pushed, comments, "comments/s"},
		{"a projection applies every event", 1e7 / f.JoinTen, events, "events/s"},
		{"query gives pages", f.Pages, a.Readers / a.PageEvery.Seconds(), "pages/s"},
		{"query tells live readers of every event", f.Deliveries, a.Readers * events, "deliveries/s"},
		{"... of those of one post in a thousand", f.Deliveries, a.Readers * events / 1000, "deliveries/s"},
	}
}

// size is something that grows with the log.
type size struct{ Name, Text string }

func sizes(f figures, a assumptions) []size {
	seconds := func(s float64) string { return time.Duration(s * float64(time.Second)).Round(time.Second).String() }
	return []size{
		{"the log, on each copy's disk", fmt.Sprintf("%.1f GB", a.Events*f.EventBytes/1e9)},
		{"its history to one new copy, as it is on disk", seconds(a.Events / f.History)},
		{"an empty query joins, at the rate of the first ten million", seconds(a.Events / 1e7 * f.JoinTen)},
		{"... at the rate of the first million", seconds(a.Events / 1e6 * f.JoinMillion)},
		{"live readers, memory of all", fmt.Sprintf("%.1f GB", a.Readers*f.FollowerBytes/1e9)},
	}
}

// round writes a number with two digits that count, or all of a small whole one.
func round(n float64) string {
	if n == 0 {
		return "0"
	}
	if n < 10 {
		return strconv.FormatFloat(n, 'g', 2, 64)
	}
	step := math.Pow(10, math.Floor(math.Log10(n))-1)
	digits := strconv.FormatFloat(math.Round(n/step)*step, 'f', 0, 64)
	var parts []string
	for len(digits) > 3 {
		parts = append([]string{digits[len(digits)-3:]}, parts...)
		digits = digits[:len(digits)-3]
	}
	return strings.Join(append([]string{digits}, parts...), ",")
}
