package push

import (
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
)

// subscribersFiles are files and what is said of them, "" if they are good.
var subscribersFiles = map[string]string{
	`[]`: "",
	`[{"name":"moderation","url":"http://localhost:4003/events","types":["CommentCreated"]}]`:                                                     "",
	` [ {"name":"a","url":"https://a","from":"now","ordered":false,"timeout":"1m30s"} , {"name":"b-1","url":"http://[::1]:80/x?y","types":[]} ] `: "",
	`[{"name":"` + strings.Repeat("x", 63) + `","url":"http://a"}]`:                                                                               "",

	``:                                           "it must be a JSON array such as [{",
	`{`:                                          "it must be a JSON array such as [{",
	`null`:                                       "it must be a JSON array, [] for no subscribers",
	`{"name":"a","url":"http://a"}`:              "it must be a JSON array such as [{",
	`[1]`:                                        "it must be a JSON array such as [{",
	`[{"name":1}]`:                               "/0/name",
	`[{"name":"a","url":"http://a"}] []`:         "it must be a JSON array such as [{",
	`[{"name":"a","url":"http://a"},]`:           "it must be a JSON array such as [{",
	`[{"name":"a","uri":"http://a"}]`:            `unknown object member name "uri"`,
	`[{"Name":"a","url":"http://a"}]`:            `unknown object member name "Name"`,
	`[{"name":"a","name":"b"}]`:                  `duplicate object member name "name"`,
	"[{\"name\":\"\xff\"}]":                      "invalid UTF-8",
	`[null]`:                                     `entry 1: the name "" must be lower-case letters, digits and hyphens, at most 63`,
	`[{"url":"http://a"}]`:                       `entry 1: the name "" must be`,
	`[{"name":"A","url":"http://a"}]`:            `entry 1: the name "A" must be`,
	`[{"name":"../x","url":"http://a"}]`:         `entry 1: the name "../x" must be`,
	`[{"name":"a/b","url":"http://a"}]`:          `entry 1: the name "a/b" must be`,
	`[{"name":"a.json","url":"http://a"}]`:       `entry 1: the name "a.json" must be`,
	`[{"name":"-a","url":"http://a"}]`:           `entry 1: the name "-a" must be`,
	"[{\"name\":\"a\\n\",\"url\":\"http://a\"}]": `entry 1: the name "a\n" must be`,
	`[{"name":"` + strings.Repeat("x", 64) + `","url":"http://a"}]`: `must be lower-case letters, digits and hyphens, at most 63`,
	`[{"name":"a","url":"http://a"},{"name":"a","url":"http://b"}]`: `entry 2: the name "a" is there twice`,
	`[{"name":"a"}]`:                                           `subscriber a: the url "" must be absolute, such as http://localhost:4003/events`,
	`[{"name":"a","url":"/events"}]`:                           `subscriber a: the url "/events" must be absolute`,
	`[{"name":"a","url":"localhost:4003"}]`:                    `subscriber a: the url "localhost:4003" must be absolute`,
	`[{"name":"a","url":"ftp://a"}]`:                           `subscriber a: the url "ftp://a" must be absolute`,
	`[{"name":"a","url":"http://a b"}]`:                        `subscriber a: the url "http://a b" must be absolute`,
	`[{"name":"a","url":"http://a","from":"end"}]`:             `subscriber a: from must be "start" or "now", not "end"`,
	`[{"name":"a","url":"http://a","timeout":"-1s"}]`:          `subscriber a: the timeout must not be negative`,
	`[{"name":"a","url":"http://a","timeout":"10"}]`:           `missing unit in duration`,
	`[{"name":"a","url":"http://a","timeout":10}]`:             `/0/timeout`,
	`[{"name":"a","url":"http://a","timeout":""}]`:             `invalid duration`,
	`[{"name":"a","url":"http://a","types":[""]}]`:             `subscriber a: a type is empty; leave types out to get all events`,
	`[{"name":"a","url":"http://a","types":"CommentCreated"}]`: `/0/types`,
	`[{"name":"a","url":"http://a","ordered":"no"}]`:           `/0/ordered`,
	`[{"name":"a","url":"http://a","replies":["A","B"]}]`:      "",
	`[{"name":"a","url":"http://a","replies":[]}]`:             "",
	`[{"name":"a","url":"http://a","replies":["A",""]}]`:       `subscriber a: a type in replies is empty; leave replies out if it answers with no events`,
	`[{"name":"a","url":"http://a","replies":"A"}]`:            `/0/replies`,
}

func TestSubscribersFileSaysWhatIsWrongWithIt(t *testing.T) {
	for text, want := range subscribersFiles {
		_, err := Parse([]byte(text))
		switch {
		case want == "" && err != nil:
			t.Errorf("%.80q is refused: %v", text, err)
		case want != "" && err == nil:
			t.Errorf("%.80q is taken", text)
		case want != "" && !strings.Contains(err.Error(), want):
			t.Errorf("%.80q is refused with %q, want %q", text, err, want)
		}
	}
}

func TestSubscribersFileIsReadAsItIsWritten(t *testing.T) {
	list, err := Parse([]byte(`[{"name":"a","url":"http://a/events","types":["A","B"],"from":"now","ordered":false,"timeout":"2s","replies":["C"]},{"name":"b","url":"http://b"}]`))
	if err != nil {
		t.Fatal(err)
	}
	a, b := list[0], list[1]
	if a.Name != "a" || a.URL != "http://a/events" || strings.Join(a.Types, "") != "AB" || a.From != "now" || a.Ordered == nil || *a.Ordered || time.Duration(a.Timeout) != 2*time.Second || strings.Join(a.Replies, "") != "C" {
		t.Errorf("the first is %+v", a)
	}
	if b.Types != nil || b.From != "" || b.Ordered != nil || b.Timeout != 0 || b.Replies != nil {
		t.Errorf("the second is %+v", b)
	}
	text, err := json.Marshal(Defaults())
	if err != nil {
		t.Fatal(err)
	}
	if list, err = Parse(text); err != nil || len(list) != 2 || list[0].Types[0] != "CommentCreated" || list[1].Types[0] != "CommentModerated" || list[0].Replies[0] != "CommentModerated" || list[1].Replies[0] != "CommentUpdated" {
		t.Errorf("the built-in list is %s, %v", text, err)
	}
}

// FuzzParse holds that a list that is taken is one that can be served, and
// stays the same when it is written and read again.
func FuzzParse(f *testing.F) {
	for text := range subscribersFiles {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		list, err := Parse(text)
		if err != nil {
			return
		}
		seen := map[string]bool{}
		for _, s := range list {
			if seen[s.Name] || strings.ContainsAny(s.Name, "/.\n") || s.Name == "" || !strings.HasPrefix(strings.ToLower(s.URL), "http") || s.Timeout < 0 {
				t.Errorf("%q gives %+v", text, s)
			}
			seen[s.Name] = true
		}
		again, err := json.Marshal(list)
		if err != nil {
			t.Fatal(err)
		}
		list, err = Parse(again)
		if err != nil {
			t.Fatalf("%q became %s, which is refused: %v", text, again, err)
		}
		if twice, _ := json.Marshal(list); string(twice) != string(again) {
			t.Errorf("%s became %s", again, twice)
		}
	})
}
