package event

import (
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

func TestUnusableDataIsAnError(t *testing.T) {
	tests := map[string]struct {
		typ, data string
		usable    bool
	}{
		"a post":                        {PostCreated, `{"id":"p","title":"T"}`, true},
		"a post of the course":          {PostCreated, `{"title":"T","id":"1a2b3c4d"}`, true},
		"a post with more":              {PostCreated, `{"id":"p","title":"T","author":{"name":"x"}}`, true},
		"no post":                       {PostCreated, ``, false},
		"a post of null":                {PostCreated, `null`, false},
		"a post that is a string":       {PostCreated, `"p"`, false},
		"a post without an id":          {PostCreated, `{"title":"T"}`, false},
		"a title that is a number":      {PostCreated, `{"id":"p","title":5}`, false},
		"a comment":                     {CommentCreated, `{"id":"c","content":"x","postId":"p","status":"pending"}`, true},
		"a comment in another order":    {CommentUpdated, `{"status":"approved","postId":"p","id":"c","content":"x"}`, true},
		"a comment that is escaped":     {CommentUpdated, `{"id":"c","content":"\"x\"\n","postId":"p","status":"approved"}`, true},
		"a content that is a number":    {CommentModerated, `{"id":"c","content":5,"postId":"p","status":"approved"}`, true},
		"a comment of null":             {CommentCreated, `null`, false},
		"a comment without a post":      {CommentCreated, `{"id":"c","content":"x","status":"pending"}`, false},
		"a comment without an id":       {CommentCreated, `{"content":"x","postId":"p","status":"pending"}`, false},
		"an id that is a number":        {CommentCreated, `{"id":5,"content":"x","postId":"p","status":"pending"}`, false},
		"data of a type nobody knows":   {"Unheard", `5`, true},
		"data of a type without a data": {"Unheard", ``, true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			e := Event{Type: test.typ, Data: jsontext.Value(test.data)}
			if err := e.Check(); (err == nil) != test.usable {
				t.Errorf("error %v", err)
			}
		})
	}
}

// FuzzComment holds that the fast way and the decoder agree on every comment.
func FuzzComment(f *testing.F) {
	for _, seed := range []string{
		`{"id":"c","content":"x","postId":"p","status":"pending"}`,
		`{"id":"c","content":"a \" and a \\","postId":"p","status":"approved"}`,
		`{"id":"c","content":"x","postId":"p","status":"odd","more":{"id":"d"}}`,
		`{"content":["x"],"id":"c","postId":"p","status":null}`,
		`{"id":"","content":"","postId":"","status":""}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		e := Event{Type: CommentCreated, Data: data}
		got, err := e.Comment()
		var fast Comment
		ok := cutData(data, commentNames[:], &fast.ID, &fast.Content, &fast.PostID, (*string)(&fast.Status))
		if !ok || !e.Data.IsValid() { // the data of an event is valid JSON
			return
		}
		var want Comment
		if e := json.Unmarshal(data, &want); e != nil {
			t.Fatalf("cut %+v out of %q, which is no comment: %v", fast, data, e)
		}
		if fast != want {
			t.Errorf("cut %+v out of %q, want %+v", fast, data, want)
		}
		if err == nil && (got.ID == "" || got.PostID == "" || !got.Status.Decided() && got.Status != Pending) {
			t.Errorf("%q is taken for %+v", data, got)
		}
	})
}

// FuzzPost is FuzzComment for posts.
func FuzzPost(f *testing.F) {
	f.Add([]byte(`{"id":"p","title":"T"}`))
	f.Add([]byte(`{"id":"p","title":"a \" and a \\"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var fast, want Post
		if !cutData(data, postNames[:], &fast.ID, &fast.Title) || !jsontext.Value(data).IsValid() {
			return
		}
		if err := json.Unmarshal(data, &want); err != nil || fast != want {
			t.Errorf("cut %+v out of %q, want %+v, %v", fast, data, want, err)
		}
	})
}
