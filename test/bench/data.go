package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"miniblog/internal/event"
)

// blog makes the events of a blog that people use: titles and comments of
// different words, the commoner ones more often (Zipf), ids and times as the
// services make them, some posts with far more comments than others.
type blog struct {
	random *rand.Rand
	words  []string
	common *rand.Zipf
	clock  time.Time
	posts  []string
	queue  []event.Event // decisions that follow a comment
	prefix string        // of the types: with one, no service wants the events
}

func newBlog(seed uint64) *blog {
	r := rand.New(rand.NewPCG(seed, seed))
	b := &blog{random: r, clock: time.Now().Add(-30 * 24 * time.Hour)}
	syllables := strings.Fields("an be con de er fi ga ha in jo ka lo ma ne or pa qui ra se ti un ve wi xa yo ze sta tri plo gre")
	for range 4000 {
		word := ""
		for range 1 + r.IntN(3) {
			word += syllables[r.IntN(len(syllables))]
		}
		b.words = append(b.words, word)
	}
	b.common = rand.NewZipf(r, 1.1, 8, uint64(len(b.words)-1))
	return b
}

func (b *blog) text(words int) string {
	var text strings.Builder
	for i := range words {
		if i > 0 {
			text.WriteByte(' ')
		}
		text.WriteString(b.words[b.common.Uint64()])
	}
	return text.String()
}

// commentsPerPost is the mean; each comment is three events.
const commentsPerPost = 10

// next returns the next event.
func (b *blog) next() event.Event {
	if len(b.queue) > 0 {
		e := b.queue[0]
		b.queue = b.queue[1:]
		return e
	}
	b.clock = b.clock.Add(time.Duration(b.random.Int64N(int64(2 * time.Second))))
	if len(b.posts) == 0 || b.random.IntN(commentsPerPost+1) == 0 {
		id := event.NewID()
		b.posts = append(b.posts, id)
		return b.at(0, event.New(id, "/posts", event.PostCreated, id, event.Post{ID: id, Title: b.text(3 + b.random.IntN(8))}))
	}
	post := b.posts[len(b.posts)-1-int(float64(len(b.posts))*b.random.Float64()*b.random.Float64()*b.random.Float64())%len(b.posts)]
	comment := event.Comment{ID: event.NewID(), PostID: post, Content: b.text(4 + b.random.IntN(25)), Status: event.Pending}
	created := b.at(0, event.New(comment.ID, "/comments", event.CommentCreated, post, comment))
	comment.Status = event.Approved
	if b.random.IntN(20) == 0 {
		comment.Status = event.Rejected
	}
	moderated := b.at(2*time.Millisecond, event.Reaction(created, "/moderation", event.CommentModerated, post, comment))
	updated := b.at(4*time.Millisecond, event.Reaction(moderated, "/comments", event.CommentUpdated, post, comment))
	b.queue = append(b.queue, moderated, updated)
	return created
}

func (b *blog) at(later time.Duration, e event.Event) event.Event {
	e.Time = event.Time(b.clock.Add(later + time.Duration(b.random.IntN(1e6))))
	e.Type = b.prefix + e.Type
	return e
}

// batch returns n events as the body of a batch.
func (b *blog) batch(n int) []byte {
	body := []byte{'['}
	for i := range n {
		if i > 0 {
			body = append(body, ',')
		}
		e := b.next()
		body = append(body, lineOf(e)...)
	}
	return append(body, ']')
}

func lineOf(e event.Event) []byte {
	line, err := event.NewLine(&e)
	if err != nil {
		panic(fmt.Sprintf("an event of the benchmark does not encode: %v", err))
	}
	return line.Text()
}

// singles returns bodies that publish one event of that type each; the ids are
// new every time.
func (b *blog) singles(eventType string, connections int) func(int, int) []byte {
	templates := make([][]byte, connections)
	ids := make([][]byte, connections) // within the template
	for c := range templates {
		id := event.NewID()
		e := b.at(0, event.New(id, "/posts", eventType, "", event.Post{ID: "0123456789", Title: b.text(8)}))
		templates[c] = lineOf(e)
		at := bytes.Index(templates[c], []byte(id))
		ids[c] = templates[c][at : at+len(id)]
	}
	return func(c, _ int) []byte {
		copy(ids[c], event.NewID())
		return templates[c]
	}
}

var beforeID = []byte(`"sequence":"00000000000000000000","id":"`)

// batches returns bodies that publish size events each. The events are made
// beforehand; each body gets ids of its own by counting up their last digits.
func (b *blog) batches(size, connections int) func(int, int) []byte {
	templates := make([][]byte, connections)
	ids := make([][][]byte, connections)
	for c := range templates {
		templates[c] = b.batch(size)
		rest := templates[c]
		for {
			at := bytes.Index(rest, beforeID)
			if at < 0 {
				break
			}
			at += len(beforeID)
			ids[c] = append(ids[c], rest[at+24:at+36])
			rest = rest[at+36:]
		}
	}
	count := make([]uint64, connections)
	return func(c, _ int) []byte {
		for _, id := range ids[c] {
			count[c]++
			n := count[c]*uint64(connections) + uint64(c)
			for i := range id {
				id[i] = "0123456789abcdef"[n>>(4*uint(len(id)-1-i))&15]
			}
		}
		return templates[c]
	}
}

// fill publishes n events in batches.
func (b *bench) fill(ctx context.Context, bus *process, from *blog, n int) error {
	const size = batchEvents
	for n > 0 {
		body := from.batch(min(size, n))
		n -= size
		r, err := http.Post("http://"+bus.addr+"/events", "application/cloudevents-batch+json", strings.NewReader(string(body)))
		if err != nil {
			return err
		}
		answer, _ := io.ReadAll(r.Body)
		r.Body.Close()
		if r.StatusCode != http.StatusOK {
			return fmt.Errorf("filling the log: %s: %s", r.Status, answer)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return nil
}
