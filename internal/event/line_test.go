package event

import (
	"bytes"
	"maps"
	"reflect"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// envelopes are events as publishers write them, for the tests below and as
// the seeds of their fuzzing.
var envelopes = []string{
	`{"type":"PostCreated","data":{"id":"1f2e3d4c","title":"a"}}`,
	`{"specversion":"1.0","sequence":"00000000000000000042","id":"x","source":"/s","type":"T","time":"2026-11-20T15:00:00Z","subject":"p","data":null}`,
	`{"data":[1,2.50,1e400,-0,"\u00e9\ud83d\ude00"],"type":"T","id":"\"\\\u0000\n"}`,
	" {\r\n\t\"type\" : \"T\" ,\r\"ext\":{ \"deep\" : [ \r\n ] }, \"data\":\t{\r\"a\"\n:1 } } ",
	`{"typ\u0065":"T","Type":"U","__proto__":{"a":1},"data_base64":"AA==","e\u0078t":"v","\n":"v"}`,
	`{"type":null,"id":null,"time":null,"subject":"","data":false,"ext":null}`,
	`{"sequence":"","type":",\"data\":","source":",\"subject\":\"x\""}`,
	`{"type":"T","traceparent":"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01","tracestate":"a=1,b=\"2\"","ext":"x"}`,
	`{"type":"T","ext":"x","traceparent":"","tracestate":null,"data":1}`, `{"traceparent":5,"tracestate":{"a":[]},"ext":"x,\"","type":"T"}`,
	`{"id":1}`, `{"type":{"a":1}}`, `{"sequence":7}`, `{"sequence":"x"}`, `{"type":"a","type":"b"}`, `{"type":"a","typ\u0065":"b"}`,
	`{"type":"\ud800"}`, "{\"type\":\"\xff\"}", `{"type":"T"`, `{"type":"T"}{}`, `[]`, `null`, `"T"`, ``, `{"data":}`, `{"ext":{"a":1,"a":2}}`,
}

func FuzzEnvelope(f *testing.F) {
	for _, text := range envelopes {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) { checkEnvelope(t, text) })
}

// checkEnvelope holds that what is taken in comes out as one line of JSON that
// says the same, and that its head can be read without decoding.
func checkEnvelope(t *testing.T, text []byte) {
	var e Event
	if err := json.Unmarshal(text, &e); err != nil {
		if jsontext.Value(text).IsValid() && jsontext.Value(text).Kind() == '{' && fits(text) {
			t.Errorf("%q is an event and was not taken: %v", text, err)
		}
		return
	}
	if !jsontext.Value(text).IsValid() {
		t.Fatalf("%q is not JSON and was taken", text)
	}
	said := members(t, text)
	if e.ID == "" || e.Type == "" {
		if line, err := NewLine(&e); err == nil {
			t.Errorf("%q became the line %q", text, line.Text())
		}
		e.ID, e.Type = "filled", "in"
		said["id"], said["type"] = `"filled"`, `"in"`
	}
	e.Sequence = 4711
	made, err := NewLine(&e)
	if err != nil {
		t.Fatalf("%q has no line: %v", text, err)
	}
	line := made.Text()
	if !jsontext.Value(line).IsValid() || bytes.ContainsAny(line, "\r\n") {
		t.Fatalf("%q became the line %q", text, line)
	}
	if got := members(t, line); !reflect.DeepEqual(got, said) {
		t.Errorf("%q became %q: members %v, want %v", text, line, got, said)
	}
	read, ok := ReadLine(line)
	if !ok || !reflect.DeepEqual(read, made) {
		t.Fatalf("%q was made as %+v and is read as %+v, %v", line, made, read, ok)
	}
	if read.Sequence() != 4711 || string(read.ID()) != e.ID || string(read.Type()) != e.Type || string(read.Subject()) != e.Subject {
		t.Errorf("the head of %q is %+v", line, read)
	}
	stored := made.Append(nil, 4712)
	if again, ok := ReadLine(stored); !ok || again.Sequence() != 4712 || !bytes.Equal(again.Append(nil, 4711), line) {
		t.Errorf("%q is stored as %q", line, stored)
	}
	back, err := ParseLine(stored)
	if err != nil {
		t.Fatal(err)
	}
	e.Sequence, e.SpecVersion = 4712, "1.0"
	same(t, back, e)
}

// fits tells whether the members of an envelope have their types.
func fits(text []byte) bool {
	var m map[string]any
	if json.Unmarshal(text, &m) != nil {
		return false
	}
	for _, name := range []string{"specversion", "sequence", "id", "source", "type", "time", "subject"} {
		if s, isString := m[name].(string); m[name] != nil && !isString {
			return false
		} else if name == "sequence" && s != "" {
			if _, err := ParseSequence(s); err != nil {
				return false
			}
		}
	}
	return true
}

// members returns what an envelope says, apart from what the bus sets and from
// strings that are empty or null, which say nothing.
func members(t *testing.T, text []byte) map[string]string {
	var raw map[string]jsontext.Value
	if err := json.Unmarshal(text, &raw); err != nil {
		t.Fatal(err)
	}
	said := map[string]string{}
	for name, value := range raw {
		if err := value.Canonicalize(jsontext.CanonicalizeRawFloats(false), jsontext.CanonicalizeRawInts(false)); err != nil {
			t.Fatal(err)
		}
		said[name] = string(value)
	}
	for _, name := range []string{"id", "source", "type", "time", "subject", "traceparent", "tracestate"} {
		if said[name] == `null` && strings.HasPrefix(name, "trace") {
			continue // it passes through
		}
		if said[name] == `""` || said[name] == `null` {
			delete(said, name)
		}
	}
	maps.DeleteFunc(said, func(name, _ string) bool { return name == "specversion" || name == "sequence" })
	return said
}

// FuzzTakeLine holds that what is taken as a line is what decoding and writing
// it again gives, to the byte, and that a line is taken.
func FuzzTakeLine(f *testing.F) {
	for _, text := range envelopes {
		f.Add([]byte(text))
		f.Add([]byte(linePrefix + "00000000000000000042" + `","id":"i","type":"T","source":"s","time":"2026-11-20T15:00:00Z","data":` + text + "}"))
	}
	f.Add([]byte(linePrefix + "20000000000000000000" + `","id":"i","type":"T","source":"s","time":"2026-11-20T15:00:00Z"}`)) // more than a sequence can be
	for _, e := range []Event{
		New("id", "/s", "T", "subject", Comment{ID: "c", Content: "text", PostID: "p", Status: Pending}),
		New("id", "/s", "T", "", 1), New("id", "/é", "T", "\"", 1),
		{ID: "id", Type: "T", Source: "/s", Time: "2026-11-20T15:00:00+01:00"},
		{ID: "id", Type: "T", Source: "/s", Time: "now"}, {ID: "id", Type: "T"},
		{ID: "id", Type: "T", Source: "/s", Time: "2026-11-20T15:00:00Z", Traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", Tracestate: "a=1", Extensions: jsontext.Value(`{"a":"x","b":"y,"}`), Data: jsontext.Value("[]")},
		{ID: "id", Type: "T", Source: "/s", Time: "2026-11-20T15:00:00Z", Extensions: jsontext.Value(`{"":"","a":"x","a":"y"}`)},
		{ID: "id", Type: "T", Source: "/s", Time: "2026-11-20T15:00:00Z", Extensions: jsontext.Value(`{"a":"x","traceparent":"y"}`)},
		{ID: strings.Repeat("i", MaxID+1), Type: "T", Source: "/s", Time: "2026-11-20T15:00:00Z", Extensions: jsontext.Value(`{"a":1}`)},
	} {
		made, err := NewLine(&e)
		if err != nil {
			f.Fatal(err)
		}
		line := made.Text()
		for _, after := range []string{"", ",", `,"a":1}`, "}"} {
			f.Add(append(bytes.Clone(line), after...))
		}
		f.Add(bytes.Replace(line, []byte("}"), []byte(`,"type":"U"}`), 1))
		f.Add(bytes.Replace(line, []byte(`"data":`), []byte(`"data": `), 1))
		f.Add(bytes.Replace(line, []byte(`{"id"`), []byte("{\n\"id\""), 1))
	}
	for _, levels := range []int{MaxDepth - 1, MaxDepth, 9999, 10000} {
		f.Add([]byte(linePrefix + "00000000000000000042" + `","id":"i","type":"T","source":"s","time":"2026-11-20T15:00:00Z","data":` + nested(levels, "]") + "}"))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		taken, rest, ok := TakeLine(text)
		line := taken.Text()
		if !ok {
			if len(rest) != len(text) {
				t.Errorf("%q is no line, and %q is left of it", text, rest)
			}
			return
		}
		if string(line)+string(rest) != string(text) {
			t.Fatalf("%q and %q are not %q", line, rest, text)
		}
		var e Event
		if err := json.Unmarshal(line, &e); err != nil {
			t.Fatalf("%q is no event: %v", line, err)
		}
		if again, err := NewLine(&e); err != nil || !reflect.DeepEqual(again, taken) {
			t.Errorf("%q is taken, its line is %q, %v", line, again.Text(), err)
		}
		if read, ok := ReadLine(line); !ok || !reflect.DeepEqual(read, taken) {
			t.Errorf("%q is taken as %+v and read as %+v, %v", line, taken, read, ok)
		}
		if cut, err := taken.Event(); err != nil || !reflect.DeepEqual(cut, e) {
			t.Errorf("%q is taken as %+v, %v and decoded as %+v", line, cut, err, e)
		}
		if e.TooDeep() {
			t.Errorf("%q is taken and too deep", line)
		}
		if e.ID == "" || e.Type == "" || e.Source == "" || e.Time == "" || len(e.ID) > MaxID || len(e.Subject) > MaxID {
			t.Errorf("%q is taken with something missing or too long: %+v", line, e)
		}
	})
}

// nested returns JSON of so many levels whose strings have brackets, too.
func nested(levels int, text string) string {
	return strings.Repeat(`["`+text+`",`, levels-1) + `{}` + strings.Repeat("]", levels-1)
}

// What is taken as a line and what is decoded have the same limit.
func TestDepthIsCountedFromTheEnvelope(t *testing.T) {
	for _, levels := range []int{2, MaxDepth - 2, MaxDepth - 1, MaxDepth, MaxDepth + 1, 9998, 9999, 10000, 10001} {
		for _, text := range []string{"", "[{", `]\"]`, `\\`} {
			data := nested(levels, text)
			line := []byte(linePrefix + "00000000000000000042" + `","id":"i","type":"T","source":"s","time":"2026-11-20T15:00:00Z","data":` + data + "}")
			_, _, taken := TakeLine(line)
			var e Event
			err := json.Unmarshal(line, &e)
			if want := levels < MaxDepth; taken != want || (err == nil && !e.TooDeep()) != want {
				t.Errorf("data of %d levels: taken %v, decoded %v, too deep %v", levels, taken, err, e.TooDeep())
			}
			extended := Event{Extensions: jsontext.Value(`{"ext":` + data + `}`)}
			if got, want := extended.TooDeep(), levels >= MaxDepth; got != want {
				t.Errorf("an extension of %d levels is too deep: %v", levels, got)
			}
		}
	}
	wide := Event{Data: jsontext.Value("[" + strings.Repeat("[{}],", 10*MaxDepth) + "1]")}
	if wide.TooDeep() {
		t.Error("what is wide is taken for deep")
	}
}

// TestServicesSendLines holds that the blog's own events need no decoding.
func TestServicesSendLines(t *testing.T) {
	created := New(NewID(), "/comments", CommentCreated, NewID(), Comment{ID: NewID(), Content: "<a> \"b\"\n\\ \u2028 é", PostID: NewID(), Status: Pending})
	moderated := Reaction(created, "/moderation", CommentModerated, created.Subject, Comment{ID: "c"})
	traced := created
	traced.Traceparent, traced.Tracestate, traced.Extensions = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "a=1", jsontext.Value(`{"datacontenttype":"application/json"}`)
	for _, e := range []Event{created, moderated, traced, New(NewID(), "/posts", PostCreated, "1f2e3d4c", Post{ID: "1f2e3d4c", Title: "title"})} {
		line, err := NewLine(&e)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, ok := TakeLine(line.Text()); !ok {
			t.Errorf("%s is not taken", line.Text())
		}
	}
}

func FuzzReadLine(f *testing.F) {
	for _, line := range []string{
		`{"specversion":"1.0","sequence":"00000000000000000042","id":"x","type":"T","source":"/s","time":"t","subject":"p","data":1}`,
		`{"specversion":"1.0","sequence":"00000000000000000042","id":"a\"b\\","type":"\u0054","subject":"\ud83d\ude00"}`,
		`{"specversion":"1.0","sequence":"99999999999999999999","id":"","type":"","source":"","time":"","subject":""}`,
		`{"specversion":"1.0","sequence":"00000000000000000042","id":"x","type":"T","time":"t","source":"/s","subject":"p"}`,
		`{"specversion":"1.0","sequence":"00000000000000000042"`, `{"specversion":"1.0","sequence":"0000000000000000004x","id":"x","type":"T"}`,
		`{"specversion":"1.0","sequence":"00000000000000000042","id":"x\`, `{"specversion":"1.0","sequence":"00000000000000000042","id":"\ud800","type":"T"}`,
		`{"specversion":"1.0","sequence":"00000000000000000042","id":"x","type":"T"`, `{"specversion":"1.0"`, `{}`, ``, `null`,
	} {
		f.Add([]byte(line))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		head, ok := ReadLine(line)
		if !ok || !jsontext.Value(line).IsValid() {
			return // of what is not a line nothing is promised but an end
		}
		var e struct{ Sequence, ID, Type string }
		if err := json.Unmarshal(line, &e, json.MatchCaseInsensitiveNames(true)); err != nil {
			return
		}
		if string(head.ID()) != e.ID || string(head.Type()) != e.Type {
			t.Errorf("the head of %q is %+v", line, head)
		}
	})
}

func TestEnvelopes(t *testing.T) {
	for _, text := range envelopes {
		checkEnvelope(t, []byte(text))
	}
}

func TestLineKeepsItsOrder(t *testing.T) {
	var e Event
	if err := json.Unmarshal([]byte(`{"data":{"b":1,"a":[ ]},"zzz":1,"subject":"p","aaa":{"x":"y"},"type":"T","time":"t","source":"/s","id":"i"}`), &e); err != nil {
		t.Fatal(err)
	}
	e.Sequence = 42
	line, err := NewLine(&e)
	want := `{"specversion":"1.0","sequence":"00000000000000000042","id":"i","type":"T","source":"/s","time":"t","subject":"p","zzz":1,"aaa":{"x":"y"},"data":{"b":1,"a":[ ]}}`
	if err != nil || string(line.Text()) != want {
		t.Errorf("got  %s, %v\nwant %s", line.Text(), err, want)
	}
}

func TestLineOfWhatIsNotUTF8IsAnError(t *testing.T) {
	for _, e := range []Event{{ID: "\xff", Type: "T"}, {ID: "1", Type: "\xff"}, {ID: "1", Type: "T", Subject: "a\xc3"}} {
		if line, err := NewLine(&e); err == nil {
			t.Errorf("got %q", line.Text())
		}
	}
}

func TestSequenceSorts(t *testing.T) {
	last := ""
	for _, s := range []Sequence{0, 1, 9, 10, 99, 1 << 32, 1<<64 - 1} {
		text := s.String()
		if len(text) != SequenceDigits || text <= last {
			t.Errorf("%d is written %q after %q", s, text, last)
		}
		last = text
		if got, err := ParseSequence(text); got != s || err != nil {
			t.Errorf("%q is read as %d, %v", text, got, err)
		}
		if got, err := ParseSequence(strings.TrimLeft(text, "0") + ""); s > 0 && (got != s || err != nil) {
			t.Errorf("%d without zeros is read as %d, %v", s, got, err)
		}
	}
	for _, text := range []string{"", "-1", "+1", " 1", "1.0", "1e3", "0x1", "1_0", "18446744073709551616", "000000000000000000001", "٤"} {
		if got, err := ParseSequence(text); err == nil {
			t.Errorf("%q is read as %d", text, got)
		} else if !strings.Contains(err.Error(), "such as 42") {
			t.Errorf("%q gives %v", text, err)
		}
	}
	var s Sequence
	if err := s.UnmarshalText(nil); err != nil || s != 0 {
		t.Errorf("nothing is read as %d, %v", s, err)
	}
}

func TestAnswerToAnEventHasOneID(t *testing.T) {
	comment := Comment{ID: "c", PostID: "p", Content: "text", Status: Approved}
	cause := New("cause", "/comments", CommentCreated, "p", comment)
	first := Reaction(cause, "/moderation", CommentModerated, "p", comment)
	if again := Reaction(cause, "/moderation", CommentModerated, "p", comment); again.ID != first.ID {
		t.Errorf("the ids are %s and %s", first.ID, again.ID)
	}
	others := map[string]Event{
		"another cause":       Reaction(New("other", "/comments", CommentCreated, "p", comment), "/moderation", CommentModerated, "p", comment),
		"another type":        Reaction(cause, "/comments", CommentUpdated, "p", comment),
		"a cause without id":  Reaction(New("", "/comments", CommentCreated, "p", comment), "/moderation", CommentModerated, "p", comment),
		"a long id":           Reaction(New(strings.Repeat("l", MaxID), "/comments", CommentCreated, "p", comment), "/moderation", CommentModerated, "p", comment),
		"its reaction's twin": Reaction(New("", "/moderation", CommentModerated, "p", comment), "/moderation", CommentModerated, "p", comment),
	}
	traced := cause
	traced.Traceparent, traced.Tracestate = "parent", "state"
	if again := Reaction(traced, "/moderation", CommentModerated, "p", comment); again.Traceparent != "parent" || again.Tracestate != "state" {
		t.Errorf("the trace of the cause is lost: %+v", again)
	}
	if first.ID != "cause/CommentModerated" {
		t.Errorf("the id is %s", first.ID)
	}
	seen := map[string]string{first.ID: "the first"}
	for name, e := range others {
		if e.ID == "" || len(e.ID) > MaxID {
			t.Errorf("%s has the id %q", name, e.ID)
		}
		if twin, there := seen[e.ID]; there {
			t.Errorf("%s has the id of %s", name, twin)
		}
		seen[e.ID] = name
	}
	if a, b := DeriveID("a", "bc"), DeriveID("ab", "c"); a == b {
		t.Error("parts run into each other")
	}
	// Ids that are on disks already: they must never change.
	if got, want := DeriveID("comments", "post", "key"), "a3f619c5-a4f6-579d-af8c-315d394a4e88"; got != want {
		t.Errorf("DeriveID gives %s, want %s", got, want)
	}
}
