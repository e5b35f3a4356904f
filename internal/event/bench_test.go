package event

import "testing"

// eachLine runs a benchmark on the lines that a log holds.
func eachLine(b *testing.B, run func(b *testing.B, e Event, line []byte)) {
	plain := New(NewID(), "/comments", CommentCreated, NewID(), Comment{ID: NewID(), PostID: NewID(), Status: Pending, Content: "Words that a reader of the blog might have written below a post."})
	traced, escaped := plain, plain // an escaped one is decoded, and is no line from outside
	traced.Traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	escaped.Subject = `a "subject"`
	for _, test := range []struct {
		name  string
		event Event
	}{{"plain", plain}, {"traced", traced}, {"escaped", escaped}} {
		line, err := NewLine(&test.event)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(test.name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(line.Text())))
			run(b, test.event, line.Text())
		})
	}
}

func BenchmarkNewLine(b *testing.B) {
	eachLine(b, func(b *testing.B, e Event, _ []byte) {
		for b.Loop() {
			if _, err := NewLine(&e); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkTakeLine(b *testing.B) {
	eachLine(b, func(b *testing.B, _ Event, line []byte) {
		for b.Loop() {
			TakeLine(line)
		}
	})
}

func BenchmarkReadLine(b *testing.B) {
	eachLine(b, func(b *testing.B, _ Event, line []byte) {
		for b.Loop() {
			if _, ok := ReadLine(line); !ok {
				b.Fatal("it is no line")
			}
		}
	})
}

func BenchmarkParseLine(b *testing.B) {
	eachLine(b, func(b *testing.B, _ Event, line []byte) {
		for b.Loop() {
			if _, err := ParseLine(line); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkComment(b *testing.B) {
	eachLine(b, func(b *testing.B, e Event, _ []byte) {
		for b.Loop() {
			if _, err := e.Comment(); err != nil {
				b.Fatal(err)
			}
		}
	})
}
