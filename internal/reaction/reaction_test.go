package reaction

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"miniblog/internal/event"
	"miniblog/internal/web"
)

// receive returns the event that is handed on, or the answer's error.
func receive(body, contentType string) (got event.Event, err error) {
	r := httptest.NewRequest(http.MethodPost, "/events", strings.NewReader(body))
	r.Header.Set("Content-Type", contentType)
	rc := Receiver{Apply: func(e event.Event) error { got = e; return nil }}
	err = rc.Receive(httptest.NewRecorder(), r)
	return got, err
}

func TestEveryFormOfAnEventIsReceived(t *testing.T) {
	full := `{"specversion":"1.0","id":"e","type":"PostCreated","source":"/posts","sequence":"00000000000000000042","subject":"p","traceparent":"x","data":{"id":"p","title":"T"}}`
	for _, contentType := range []string{"application/json", "application/json; charset=utf-8", "application/cloudevents+json"} {
		e, err := receive(full, contentType)
		if err != nil || e.ID != "e" || e.Sequence != 42 || e.Subject != "p" || e.Type != event.PostCreated {
			t.Errorf("%s: %+v, %v", contentType, e, err)
		}
	}
	e, err := receive(`{"type":"PostCreated","data":{"id":"1a2b3c4d","title":"T"}}`, "application/json")
	if err != nil || e.Type != event.PostCreated || e.Sequence != 0 {
		t.Errorf("as the course's services send it: %+v, %v", e, err)
	}
}

// TestReplyGoesToWhoTakesIt holds that an event is the answer only where the bus
// asked for one; moderation's and comments' own tests hold that it is published
// elsewhere.
func TestReplyGoesToWhoTakesIt(t *testing.T) {
	for accept, want := range map[string]bool{
		"application/cloudevents+json, application/cloudevents-batch+json": true,
		"application/cloudevents+json;q=0.9":                               true, "text/html,application/cloudevents+json": true,
		"": false, "*/*": false, "application/json": false, "application/cloudevents-batch+json": false, ";;": false,
	} {
		r := httptest.NewRequest(http.MethodPost, "/events", nil)
		r.Header.Set("Accept", accept)
		if got := takesReplies(r); got != want {
			t.Errorf("Accept: %s: %v", accept, got)
		}
	}
}

// FuzzReceive holds that whatever is pushed is a usable event or a problem
// that is the sender's.
func FuzzReceive(f *testing.F) {
	for _, seed := range []string{
		`{"type":"PostCreated","data":{"id":"p","title":"T"}}`,
		`{"type":"CommentCreated","data":{"id":"c","content":"x","postId":"p","status":"pending"}}`,
		`{"type":"CommentModerated","data":{"id":"c","content":5,"postId":"p","status":null}}`,
		`{"type":"Unheard","sequence":"00000000000000000001","data":[1,2]}`,
		`{"type":"PostCreated","sequence":1}`, `{"type":{}}`, `[]`, `null`, `"x"`, "{\"type\":\"\xff\"}", `{"type":"a","type":"b"}`, ``,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body string) {
		e, err := receive(body, "application/json")
		var p *web.Problem
		switch {
		case err == nil && (e.Type == "" || e.Check() != nil):
			t.Errorf("%q is taken for %+v", body, e)
		case err != nil && (!errors.As(err, &p) || p.Status < 400 || p.Status > 499 || p.Detail == ""):
			t.Errorf("%q: %v", body, err)
		}
	})
}
