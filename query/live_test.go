package main

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"miniblog/internal/bus/bustest"
	"miniblog/internal/event"
	"miniblog/internal/service/servicetest"
	"miniblog/test/wait"
)

// follower reads a live stream.
type follower struct {
	t    *testing.T
	text *bufio.Scanner
	end  func()
}

// follow opens the stream; header is names and values in turn.
func follow(t *testing.T, s *servicetest.Service, path string, header ...string) *follower {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if got := resp.Header.Get("Content-Type"); resp.StatusCode != http.StatusOK || got != "text/event-stream" {
		t.Fatalf("%s %s", resp.Status, got)
	}
	return &follower{t, bufio.NewScanner(resp.Body), cancel}
}

// next returns the next event as "id event data", without the zeros that an id
// starts with; "" at the end of the stream.
func (f *follower) next() string {
	var id, name, data string
	for f.text.Scan() {
		field, value, _ := strings.Cut(f.text.Text(), ": ")
		switch field {
		case "id":
			id, _, _ = strings.Cut(strings.TrimLeft(value, "0"), "@")
		case "event":
			name = value
		case "data":
			data = value
		case "":
			if name != "" {
				return id + " " + name + " " + data
			}
		}
	}
	return ""
}

func (f *follower) expect(want ...string) {
	f.t.Helper()
	for _, w := range want {
		if got := f.next(); got != w {
			f.t.Fatalf("the stream says %q, want %q", got, w)
		}
	}
}

const (
	postP    = `post {"id":"p","title":"Title of p"}`
	pendingC = `comment {"id":"c","content":"","postId":"p","status":"pending"}`
	approveC = `comment {"id":"c","content":"Good","postId":"p","status":"approved"}`
	rejectD  = `comment {"id":"d","content":"","postId":"p","status":"rejected"}`
)

func TestFollowersAreToldOfEachChange(t *testing.T) {
	b := bustest.New(t)
	b.Add(postCreated("before"))
	s := start(t, b)
	one, two := follow(t, s, "/posts/live"), follow(t, s, "/posts/live")
	b.Add(postCreated("p"), created("c", "p", "Good"), event.New("m", "/moderation", event.CommentModerated, "p", event.Comment{ID: "c", PostID: "p"}),
		updated("c", "p", "Good", event.Approved), updated("d", "p", "Bad", event.Rejected))
	for _, f := range []*follower{one, two} {
		f.expect("2 "+postP, "3 "+pendingC, "5 "+approveC, "6 "+rejectD)
	}
}

func TestFollowerResumesWhereItWas(t *testing.T) {
	b := bustest.New(t)
	s := start(t, b)
	b.Add(postCreated("p"), created("c", "p", "Good"), updated("c", "p", "Good", event.Approved))
	wait.For(t, "the comment", func() bool { return strings.Contains(s.Get("/posts").Body, "Good") })
	follow(t, s, "/posts/live?after=1").expect("2 "+pendingC, "3 "+approveC)
	follow(t, s, "/posts/live?after=00000000000000000002").expect("3 " + approveC)
	follow(t, s, "/posts/live?after=0", "Last-Event-ID", "00000000000000000002").expect("3 " + approveC)
	ahead := follow(t, s, "/posts/live", "Last-Event-ID", "4") // from a copy that is further
	b.Add(postCreated("q"), updated("d", "p", "Bad", event.Rejected))
	ahead.expect("5 " + rejectD)
}

func TestLoadingAndFollowingLeaveNoGap(t *testing.T) {
	b := bustest.New(t)
	s := start(t, b)
	b.Add(postCreated("p"))
	wait.For(t, "the post", func() bool { return strings.Contains(s.Get("/posts").Body, "Title") })
	at := s.Get("/posts").Header.Get("Event-Sequence")
	b.Add(created("c", "p", "Good")) // between the two requests
	wait.For(t, "the comment", func() bool { return strings.Contains(s.Get("/posts").Body, "pending") })
	follow(t, s, "/posts/live?after="+at).expect("2 " + pendingC)
}

func TestFollowerThatCannotResumeLoadsAgain(t *testing.T) {
	t.Parallel() // it waits
	t.Run("its sequence is from before this process", func(t *testing.T) {
		b, dir := bustest.New(t), t.TempDir()
		b.Add(postCreated("p"), postCreated("q"))
		startIn(t, b, dir).AwaitReady().Stop()
		s := startIn(t, b, dir).AwaitReady()
		f := follow(t, s, "/posts/live?after=1")
		f.expect("2 reset {}")
		b.Add(created("c", "p", "Good"))
		f.expect("3 " + pendingC)
	})
	t.Run("the log is another one", func(t *testing.T) {
		b := bustest.New(t)
		b.Add(postCreated("x"), postCreated("y"))
		s := start(t, b)
		f := follow(t, s, "/posts/live")
		b.Become(false)
		if got := f.next(); !strings.HasSuffix(got, "reset {}") {
			t.Fatalf("the stream says %q", got)
		}
		b.Add(postCreated("p"))
		f.expect("1 " + postP)
	})
	t.Run("the log was replaced while it was away", func(t *testing.T) {
		b := bustest.New(t)
		b.Add(postCreated("x"))
		s := start(t, b)
		page := s.Get("/posts").Header
		b.Become(false)
		for i := range 5 { // its sequence is in this log, too
			b.Add(postCreated(fmt.Sprint("p", i)))
		}
		wait.For(t, "the other log", func() bool { return s.Get("/posts").Header.Get("Event-Sequence") == "00000000000000000005" })
		if got := follow(t, s, "/posts/live?after="+page.Get("Event-Sequence")+"@"+page.Get("Event-Log")).next(); got != "5 reset {}" {
			t.Errorf("the stream says %q", got)
		}
		follow(t, s, "/posts/live?after=4").expect("5 reset {}") // that log's events were never sent
		f := follow(t, s, "/posts/live?after=5")                 // who does not say which log
		b.Add(postCreated("q"))
		f.expect(`6 post {"id":"q","title":"Title of q"}`)
	})
	t.Run("its sequence is of another log", func(t *testing.T) {
		s := start(t, bustest.New(t))
		if got := follow(t, s, "/posts/live?after=1000").next(); !strings.HasSuffix(got, "reset {}") {
			t.Errorf("the stream says %q", got)
		}
	})
}

func TestWithoutALogFollowersAreToldAsWell(t *testing.T) {
	s := start(t, bustest.NewSimple(t))
	f := follow(t, s, "/posts/live?after="+s.Get("/posts").Header.Get("Event-Sequence"))
	push(t, s, updated("c", "p", "Good", event.Approved))
	push(t, s, created("c", "p", "Good")) // late, and no news
	push(t, s, postCreated("p"))
	f.expect(" "+approveC, " "+postP)
	follow(t, s, "/posts/live?after=0").expect(" "+approveC, " "+postP) // what is, sent again, does no harm
}

func TestStopEndsTheStream(t *testing.T) {
	s := start(t, bustest.New(t))
	f := follow(t, s, "/posts/live")
	began := time.Now()
	s.Stop()
	if got := f.next(); got != "" {
		t.Errorf("the stream says %q", got)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("the stop took %v", took)
	}
}
