package event

import (
	"bytes"
	"fmt"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Post returns the data of a PostCreated, or what is wrong with it.
func (e *Event) Post() (Post, error) {
	var p Post
	if cutData(e.Data, postNames[:], &p.ID, &p.Title) {
		return p, checkID("id of the post", p.ID)
	}
	if err := json.Unmarshal(e.Data, &p); err != nil {
		return p, fmt.Errorf("the data of a %s must be an object with the strings id and title", e.Type)
	}
	return p, checkID("id of the post", p.ID)
}

// Comment returns the data of one of the comment events, or what is wrong with
// it. A content that is not a string is none, and a status that is unknown is
// pending: such a comment can still be decided on.
func (e *Event) Comment() (Comment, error) {
	var c Comment
	if cutData(e.Data, commentNames[:], &c.ID, &c.Content, &c.PostID, (*string)(&c.Status)) {
		err := c.check()
		return c, err
	}
	if err := json.Unmarshal(e.Data, &c); err != nil {
		var odd struct {
			ID      string         `json:"id"`
			PostID  string         `json:"postId"`
			Content jsontext.Value `json:"content"`
			Status  jsontext.Value `json:"status"`
		}
		if err := json.Unmarshal(e.Data, &odd); err != nil {
			return c, fmt.Errorf("the data of a %s must be an object with the strings id, postId, content and status", e.Type)
		}
		c = Comment{ID: odd.ID, PostID: odd.PostID}
		if json.Unmarshal(odd.Content, &c.Content) != nil {
			c.Content = ""
		}
		if json.Unmarshal(odd.Status, &c.Status) != nil {
			c.Status = Pending
		}
	}
	err := c.check()
	return c, err
}

// The members of a post and of a comment, as this package writes them.
var (
	postNames    = [...]string{`{"id":"`, `,"title":"`}
	commentNames = [...]string{`{"id":"`, `,"content":"`, `,"postId":"`, `,"status":"`}
)

// cutData reads data that this package wrote, unless something in it is
// escaped: what a scan is for lines. Without ok the fields are not set.
func cutData(data []byte, names []string, fields ...*string) (ok bool) {
	var ends [len(commentNames)]uint32
	scanStrings(data, 0, names, ends[:], false)
	if end := int(ends[len(names)-1]); end != len(data)-1 || data[end] != '}' || bytes.IndexByte(data, '\\') >= 0 {
		return false
	}
	cut(string(data), 0, names, ends[:], fields) // one copy for all
	return true
}

func (c *Comment) check() error {
	if !c.Status.Decided() {
		c.Status = Pending
	}
	if err := checkID("id of the comment", c.ID); err != nil {
		return err
	}
	return checkID("postId of the comment", c.PostID)
}

// Check returns what is wrong with the data of an event of the blog's own
// types; of other types it knows nothing.
func (e *Event) Check() (err error) {
	switch e.Type {
	case PostCreated:
		_, err = e.Post()
	case CommentCreated, CommentModerated, CommentUpdated:
		_, err = e.Comment()
	}
	return err
}

func checkID(what, id string) error {
	if id == "" || len(id) > MaxID {
		return fmt.Errorf("the %s must have 1 to %d bytes", what, MaxID)
	}
	return nil
}
