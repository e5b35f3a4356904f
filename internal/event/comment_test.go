package event

import (
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// A comment that moderation cannot read is decided on all the same.
func TestCommentThatIsOddCanStillBeDecidedOn(t *testing.T) {
	for text, want := range map[string]Comment{
		`{"id":"c","postId":"p","content":"a","status":"approved"}`:        {"c", "a", "p", Approved},
		`{"id":"c","postId":"p","content":"a","status":"rejected","x":{}}`: {"c", "a", "p", Rejected},
		`{"id":"c","postId":"p","content":"a"}`:                            {"c", "a", "p", Pending},
		`{"id":"c","postId":"p","content":"a","status":"APPROVED"}`:        {"c", "a", "p", Pending},
		`{"id":"c","postId":"p","content":"a","status":true}`:              {"c", "a", "p", Pending},
		`{"id":"c","postId":"p","content":"a","status":null}`:              {"c", "a", "p", Pending},
		`{"id":"c","postId":"p","content":{"a":1},"status":"approved"}`:    {"c", "", "p", Approved},
		`{"id":"c","postId":"p","content":["orange"],"status":"pending"}`:  {"c", "", "p", Pending},
		`{"id":"c","postId":"p","content":7}`:                              {"c", "", "p", Pending},
		`{"id":"c","postId":"p"}`:                                          {"c", "", "p", Pending},
	} {
		for _, typ := range []string{CommentCreated, CommentModerated, CommentUpdated} {
			e := Event{Type: typ, Data: jsontext.Value(text)}
			got, err := e.Comment()
			if got != want || err != nil || e.Check() != nil {
				t.Errorf("%s gives %+v, %v, want %+v", text, got, err, want)
			}
		}
	}
}

func TestOnlyApprovedTextIsReadable(t *testing.T) {
	for status, want := range map[Status]string{Approved: "text", Pending: "", Rejected: "", "": "", "APPROVED": ""} {
		if got := status.Readable("text"); got != want {
			t.Errorf("the text of a comment that is %q is read as %q", status, got)
		}
	}
}

func TestNewEventIsWhole(t *testing.T) {
	e := New("1", "/posts", PostCreated, "p", Post{ID: "p", Title: "a <b>"})
	text, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(text, &m); err != nil {
		t.Fatal(err)
	}
	data := m["data"].(map[string]any)
	if m["specversion"] != "1.0" || m["id"] != "1" || m["source"] != "/posts" || m["type"] != PostCreated || m["subject"] != "p" || m["time"] == "" || data["id"] != "p" || data["title"] != "a <b>" || m["sequence"] != nil || len(m) != 7 {
		t.Errorf("the event is %s", text)
	}
	if a, b := NewID(), NewID(); a >= b || len(a) != 36 {
		t.Errorf("the ids %s and %s do not sort", a, b)
	}
}
