package eventlog

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"miniblog/internal/event"
)

// BenchmarkAppend measures batches of 1,000 comments, one after the other; with
// TMPDIR in memory, what they cost the processor.
func BenchmarkAppend(b *testing.B) {
	const events, batches = 1000, 2 * remembered / 1000 // so many that an id is forgotten when it comes again
	random := rand.New(rand.NewPCG(1, 1))
	prepared := make([][]event.Line, batches)
	for i := range prepared {
		for range events {
			words := make([]string, 12)
			for w := range words {
				words[w] = fmt.Sprintf("word%d", random.IntN(2000))
			}
			c := event.Comment{ID: event.NewID(), PostID: event.NewID(), Status: event.Pending, Content: strings.Join(words, " ")}
			e := event.New(event.NewID(), "/comments", event.CommentCreated, c.PostID, c)
			line, err := event.NewLine(&e)
			if err != nil {
				b.Fatal(err)
			}
			prepared[i] = append(prepared[i], line)
		}
	}
	l := mustOpen(b, b.TempDir(), Options{})
	defer mustClose(b, l)
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		if _, err := l.Append(b.Context(), prepared[n%batches]); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)*events/b.Elapsed().Seconds(), "events/s")
}
