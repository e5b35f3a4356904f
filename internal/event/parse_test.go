package event

import (
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

func TestLineReadsBackAsTheEvent(t *testing.T) {
	comment := New("7", "/comments", CommentCreated, "p", Comment{ID: "7", PostID: "p", Status: Pending, Content: `a "quoted" ,"data": word`})
	tests := map[string]struct {
		event Event
		fast  bool
	}{
		"an event of ours":                  {comment, true},
		"without optional members":          {Event{ID: "1", Type: "T", Data: jsontext.Value(`null`)}, true},
		"an id that needs escaping":         {Event{ID: `a"b`, Type: "T", Data: jsontext.Value(`{}`)}, false},
		"without data":                      {Event{ID: "1", Type: "T"}, false},
		"with an extension":                 {Event{ID: "1", Type: "T", Data: jsontext.Value(`1`), Extensions: jsontext.Value(`{"ext":"x"}`)}, false},
		"an extension with data of its own": {Event{ID: "1", Type: "T", Data: jsontext.Value(`1`), Extensions: jsontext.Value(`{"ext":{"a":1,"data":2}}`)}, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			test.event.Sequence = 4711
			line, err := AppendLine(nil, &test.event)
			if err != nil {
				t.Fatal(err)
			}
			if _, fast := cutLine(line); fast != test.fast {
				t.Errorf("cut out = %v, want %v: %s", fast, test.fast, line)
			}
			got, err := ParseLine(line)
			if err != nil {
				t.Fatal(err)
			}
			var want Event
			if err := json.Unmarshal(line, &want); err != nil {
				t.Fatal(err)
			}
			same(t, got, want)
		})
	}
}

// FuzzParseLine holds that the fast way never disagrees with the decoder on a
// line that the decoder takes.
func FuzzParseLine(f *testing.F) {
	line, _ := AppendLine(nil, &Event{Sequence: 1, ID: "1", Type: "T", Source: "/s", Time: "t", Subject: "s", Data: jsontext.Value(`{"a":1}`)})
	f.Add(line)
	f.Add([]byte(`{"specversion":"1.0","sequence":"00000000000000000001","type":"T","data":{}}`))
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		var want Event
		if json.Unmarshal(line, &want) != nil {
			ParseLine(line)
			return
		}
		got, err := ParseLine(line)
		if err != nil {
			t.Fatalf("%v on %q", err, line)
		}
		same(t, got, want)
	})
}

func same(t *testing.T, got, want Event) {
	t.Helper()
	a, errA := json.Marshal(got)
	b, errB := json.Marshal(want)
	if errA != nil || errB != nil || string(a) != string(b) {
		t.Errorf("read %s (%v), want %s (%v)", a, errA, b, errB)
	}
}

func BenchmarkParseLine(b *testing.B) {
	e := New(NewID(), "/comments", CommentCreated, NewID(), Comment{ID: NewID(), PostID: NewID(), Status: Pending, Content: "Words that a reader of the blog might have written below a post."})
	line, _ := AppendLine(nil, &e)
	b.SetBytes(int64(len(line)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseLine(line); err != nil {
			b.Fatal(err)
		}
	}
}
