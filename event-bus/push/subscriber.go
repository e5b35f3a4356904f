package push

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Subscriber is who wants events and how: an entry of the subscribers file.
type Subscriber struct {
	Name    string   `json:"name"`
	URL     string   `json:"url"`
	Types   []string `json:"types"`   // empty: all
	From    string   `json:"from"`    // where a new subscriber begins: start (default) or now
	Ordered *bool    `json:"ordered"` // false: events of one subject may overtake each other
	Timeout Duration `json:"timeout"` // for one answer; 10s
	Replies []string `json:"replies"` // types of events that it may answer with
}

// wants tells whether events of a type are delivered.
func (s *Subscriber) wants(typ string) bool {
	return len(s.Types) == 0 || slices.Contains(s.Types, typ)
}

// ordered tells whether events of one subject are delivered one after the other.
func (s *Subscriber) ordered() bool { return s.Ordered == nil || *s.Ordered }

// Duration is a time.Duration that is written as "10s".
type Duration time.Duration

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Duration) UnmarshalText(text []byte) error {
	parsed, err := time.ParseDuration(string(text))
	*d = Duration(parsed)
	return err
}

// MarshalText implements encoding.TextMarshaler.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// Defaults are the subscribers of a laptop, where every service has its own
// port.
func Defaults() []Subscriber {
	return []Subscriber{
		{Name: "moderation", URL: "http://localhost:4003/events", Types: []string{"CommentCreated"}, Replies: []string{"CommentModerated"}},
		{Name: "comments", URL: "http://localhost:4001/events", Types: []string{"CommentModerated"}, Replies: []string{"CommentUpdated"}},
	}
}

// names are also names of files.
var names = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)

// Parse reads a subscribers file, a JSON array. Its error is a sentence that
// says which entry is wrong and how.
func Parse(text []byte) ([]Subscriber, error) {
	var list []Subscriber
	if err := json.Unmarshal(text, &list, json.RejectUnknownMembers(true)); err != nil {
		return nil, fmt.Errorf("it must be a JSON array such as [{\"name\":\"moderation\",\"url\":\"http://localhost:4003/events\",\"types\":[\"CommentCreated\"]}]: %w", err)
	}
	if jsontext.Value(text).Kind() != '[' {
		return nil, fmt.Errorf("it must be a JSON array, [] for no subscribers")
	}
	var seen []string
	for i, s := range list {
		u, err := url.Parse(s.URL)
		switch {
		case !names.MatchString(s.Name):
			return nil, fmt.Errorf("entry %d: the name %q must be lower-case letters, digits and hyphens, at most 63", i+1, s.Name)
		case slices.Contains(seen, s.Name):
			return nil, fmt.Errorf("entry %d: the name %q is there twice", i+1, s.Name)
		case err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https"):
			return nil, fmt.Errorf("subscriber %s: the url %q must be absolute, such as http://localhost:4003/events", s.Name, withoutPassword(s.URL))
		case slices.Contains(s.Types, ""):
			return nil, fmt.Errorf("subscriber %s: a type is empty; leave types out to get all events", s.Name)
		case slices.Contains(s.Replies, ""):
			return nil, fmt.Errorf("subscriber %s: a type in replies is empty; leave replies out if it answers with no events", s.Name)
		case s.From != "" && s.From != "start" && s.From != "now":
			return nil, fmt.Errorf("subscriber %s: from must be \"start\" or \"now\", not %q", s.Name, s.From)
		case s.Timeout < 0:
			return nil, fmt.Errorf("subscriber %s: the timeout must not be negative", s.Name)
		}
		seen = append(seen, s.Name)
	}
	return list, nil
}

// withoutPassword is what may be shown of a URL, also of one that is wrong.
func withoutPassword(text string) string {
	if u, err := url.Parse(text); err == nil && u.Host != "" {
		return u.Redacted()
	}
	at := strings.LastIndexByte(text, '@')
	if at < 0 {
		return text
	}
	scheme, _, found := strings.Cut(text[:at], "://")
	if !found {
		return "xxxxx" + text[at:]
	}
	return scheme + "://xxxxx" + text[at:]
}
