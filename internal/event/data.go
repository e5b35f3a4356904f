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
	if err := json.Unmarshal(e.Data, &p); err != nil {
		return p, fmt.Errorf("the data of a %s must be an object with the strings id and title", e.Type)
	}
	return p, checkID("id of the post", p.ID)
}

// Comment returns the data of one of the comment events, or what is wrong with
// it. A content that is not a string is none, and a status that is unknown is
// pending: such a comment can still be decided on.
func (e *Event) Comment() (Comment, error) {
	c, ok := cutComment(e.Data)
	if ok {
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

// cutComment reads a comment as this package writes it, unless its text is
// escaped: what ParseLine is for lines.
func cutComment(data []byte) (c Comment, ok bool) {
	if len(data) == 0 || bytes.IndexByte(data, '\\') >= 0 {
		return c, false
	}
	rest := string(data) // one copy for all members
	rest = cutString(rest, `{"id":"`, &c.ID)
	rest = cutString(rest, `,"content":"`, &c.Content)
	rest = cutString(rest, `,"postId":"`, &c.PostID)
	rest = cutString(rest, `,"status":"`, (*string)(&c.Status))
	return c, rest == "}"
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
