package blog

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"miniblog/test/harness"
)

var (
	seed    = flag.Uint64("seed", 0, "of the crash test, to repeat its choices; 0 takes a new one")
	crashes = flag.Duration("crashes", 30*time.Second, "how long the crash test kills a process every second")
)

func TestNothingAcknowledgedIsLostWhenProcessesAreKilled(t *testing.T) {
	t.Parallel()
	seed := *seed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("the choices can be repeated with -seed=%d", seed)
	choose := rand.New(rand.NewPCG(seed, 0))
	blog := harness.StartBlog(t, harness.Config{Copies: 2})
	var book ledger
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var load sync.WaitGroup
	for i := range 8 {
		w := writer{ledger: &book, api: blog.API, name: fmt.Sprintf("writer %d", i), keyed: i%2 == 0, choose: rand.New(rand.NewPCG(seed, uint64(i+1)))}
		if i < 2 {
			load.Go(func() { w.write(ctx, 3*pace, w.post) })
		} else {
			load.Go(func() { w.write(ctx, pace, w.comment) })
		}
	}
	load.Go(func() { read(ctx, blog.API) })

	kinds := [][]*harness.Process{{blog.Bus}, {blog.Client}, blog.Posts.Copies, blog.Comments.Copies, blog.Query.Copies, blog.Moderation.Copies}
	each := time.NewTicker(time.Second)
	defer each.Stop()
	var killed []string
	for end := time.Now().Add(*crashes); time.Now().Before(end); <-each.C {
		kind := kinds[choose.IntN(len(kinds))]
		process := kind[choose.IntN(len(kind))]
		process.Kill()
		process.Start()
		killed = append(killed, process.Name)
	}
	stop()
	load.Wait()
	posts, comments := book.entries(postKind), book.entries(commentKind)
	t.Logf("killed %s; %d posts and %d comments were written, %d and %d acknowledged", strings.Join(killed, ", "),
		len(posts), len(comments), acknowledged(posts), acknowledged(comments))
	if least := 3 * int(crashes.Seconds()); acknowledged(posts) < least || acknowledged(comments) < least {
		t.Error("too little was acknowledged to show anything")
	}

	blog.AwaitReady()
	book.finishKeyed(t, blog.API)
	caughtUp(t, blog.API)
	events := harness.Must(blog.ListEvents(t.Context()))(t)
	storedOnce(t, events)
	book.check(t, events)
	for i := range 2 {
		t.Run(fmt.Sprintf("copy %d agrees with the log", i+1), func(t *testing.T) { checkCopy(t, blog.Copy(i), events) })
	}
	blog.Bus.Stop()
	if out, err := harness.Run(t, "event-bus", "verify", blog.Bus.Dir); err != nil {
		t.Errorf("event-bus verify: %v\n%s", err, out)
	}
}

// kind is what an entry of the ledger is about.
type kind string

const (
	postKind    kind = "post"
	commentKind kind = "comment"
)

// entry is one thing that somebody wrote. Its text is like no other's.
type entry struct {
	kind         kind
	text, key    string
	postID       string // that it comments on
	id           string // once it is acknowledged
	acknowledged bool
}

// ledger is what was written, and what became of it as its writers were told.
type ledger struct {
	mu      sync.Mutex
	all     []*entry
	postIDs []string // acknowledged
}

// writer creates one thing after the other. With keys it repeats what failed.
type writer struct {
	*ledger
	api    harness.API
	name   string
	keyed  bool
	choose *rand.Rand
}

// pace keeps a writer from taking the machine from the processes.
const pace = 10 * time.Millisecond

// write writes until ctx ends.
func (w *writer) write(ctx context.Context, every time.Duration, next func(n int) *entry) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for n := 0; ctx.Err() == nil; n++ {
		if e := next(n); e != nil {
			e.text += ", " + w.name
			if w.keyed {
				e.key = e.text
			}
			w.add(e)
			for w.attempt(w.api, e) != nil && w.keyed && ctx.Err() == nil {
				<-tick.C
			}
		}
		<-tick.C
	}
}

func (w *writer) post(n int) *entry { return &entry{kind: postKind, text: fmt.Sprintf("Post %d", n)} }

// comment is on a post that was acknowledged, nil if there is none yet.
func (w *writer) comment(n int) *entry {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.postIDs) == 0 {
		return nil
	}
	content, _ := numbered(n)
	return &entry{kind: commentKind, postID: w.postIDs[w.choose.IntN(len(w.postIDs))], text: content}
}

func (l *ledger) add(e *entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, e)
}

// attempt asks once, and waits for the answer also when the load ends.
func (l *ledger) attempt(api harness.API, e *entry) error {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	var id string
	var err error
	if e.kind == postKind {
		var post harness.Post
		post, err = api.CreatePost(ctx, e.text, e.key)
		id = post.ID
	} else {
		var comment harness.Comment
		comment, err = api.CreateComment(ctx, e.postID, e.text, e.key)
		id = comment.ID
	}
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	e.id, e.acknowledged = id, true
	if e.kind == postKind {
		l.postIDs = append(l.postIDs, id)
	}
	return nil
}

// finishKeyed repeats what has a key and was not acknowledged.
func (l *ledger) finishKeyed(t *testing.T, api harness.API) {
	t.Helper()
	for _, e := range l.all {
		if e.key != "" && !e.acknowledged {
			harness.Eventually(t, limit, func() error { return l.attempt(api, e) })
		}
	}
}

func (l *ledger) entries(k kind) (some []*entry) {
	for _, e := range l.all {
		if e.kind == k {
			some = append(some, e)
		}
	}
	return some
}

// acknowledged counts while the load runs.
func (l *ledger) acknowledged(k kind) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return acknowledged(l.entries(k))
}

func acknowledged(entries []*entry) (n int) {
	for _, e := range entries {
		if e.acknowledged {
			n++
		}
	}
	return n
}

// check compares what its writers were told with the log: what is acknowledged
// is there once, with that id; what is not, at most once; and nothing else is.
func (l *ledger) check(t *testing.T, events []harness.Event) {
	t.Helper()
	ids := map[string][]string{} // by text
	for _, e := range events {
		switch data := decode(t, e); e.Type {
		case "PostCreated":
			ids[data.Title] = append(ids[data.Title], data.ID)
		case "CommentCreated":
			ids[data.Content] = append(ids[data.Content], data.ID)
		}
	}
	for _, e := range l.all {
		switch there := ids[e.text]; {
		case e.acknowledged && !reflect.DeepEqual(there, []string{e.id}):
			t.Errorf("the %s %q was acknowledged with the id %s; in the log it has the ids %q", e.kind, e.text, e.id, there)
		case len(there) > 1:
			t.Errorf("the %s %q was answered with an error and is in the log with the ids %q", e.kind, e.text, there)
		}
		delete(ids, e.text)
	}
	for text, there := range ids {
		t.Errorf("nobody wrote %q, which is in the log with the ids %q", text, there)
	}
}

// data is the data of any of the blog's events.
type data struct{ ID, Title, Content, PostID, Status string }

func decode(t *testing.T, e harness.Event) (d data) {
	t.Helper()
	if err := json.Unmarshal(e.Data, &d); err != nil {
		t.Fatalf("event %s: %v", e.Sequence, err)
	}
	return d
}

// checkCopy compares what a copy of each service says with the log, and fails
// the test if a comment is not decided.
func checkCopy(t *testing.T, api harness.API, events []harness.Event) {
	var want []harness.Post // newest first, as query has them
	comments := map[string][]harness.Comment{}
	status := map[string]string{}
	for _, e := range events {
		if d := decode(t, e); e.Type == "CommentUpdated" {
			if status[d.ID] != "" {
				t.Errorf("the comment %s was decided on twice", d.ID)
			}
			status[d.ID] = d.Status
		}
	}
	for _, e := range events {
		switch d := decode(t, e); e.Type {
		case "PostCreated":
			want = append([]harness.Post{{ID: d.ID, Title: d.Title}}, want...)
		case "CommentCreated":
			c := harness.Comment{ID: d.ID, Status: status[d.ID]}
			if c.Status == "approved" {
				c.Content = d.Content
			}
			if c.Status == "" {
				t.Errorf("the comment %s is not decided", d.ID)
			}
			comments[d.PostID] = append(comments[d.PostID], c)
		}
	}
	harness.Eventually(t, limit, func() error {
		posts, err := api.ListPosts(t.Context())
		if err == nil && !reflect.DeepEqual(posts, want) {
			err = fmt.Errorf("posts has %d posts, which are not the %d of the log", len(posts), len(want))
		}
		return err
	})
	for i := range want {
		p := &want[i]
		p.CommentCount = len(comments[p.ID])
		p.Comments = append([]harness.Comment{}, comments[p.ID][:min(50, p.CommentCount)]...)
	}
	harness.Eventually(t, limit, func() error {
		posts, err := api.ListBlog(t.Context())
		if err == nil && !reflect.DeepEqual(posts, want) {
			err = fmt.Errorf("query has %d posts, which are not the %d of the log with their comments", len(posts), len(want))
		}
		return err
	})
	for _, p := range want {
		harness.Eventually(t, limit, func() error {
			all, err := api.ListComments(t.Context(), p.ID)
			if err == nil && !reflect.DeepEqual(all, comments[p.ID]) {
				err = fmt.Errorf("of the post %s comments says %+v, and the log %+v", p.ID, all, comments[p.ID])
			}
			return err
		})
	}
}

// read reads as visitors do until ctx ends, whatever comes of it.
func read(ctx context.Context, api harness.API) {
	tick := time.NewTicker(5 * pace)
	defer tick.Stop()
	for ctx.Err() == nil {
		posts, err := api.FindPosts(ctx, "none")
		if err == nil && len(posts) == 0 {
			api.ListBlog(ctx)
			api.ListPosts(ctx)
		}
		<-tick.C
	}
}
