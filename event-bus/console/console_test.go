package console

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"miniblog/event-bus/eventlog"
	"miniblog/internal/event"
)

// serve serves the console of a log that begins with events.
func serve(t *testing.T, access *Access, events ...event.Event) (string, *eventlog.Log) {
	t.Helper()
	log, err := eventlog.Open(t.TempDir(), eventlog.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { log.Close() })
	publish(t, log, events...)
	routes, err := Routes(Config{Log: log, Access: access, Stopping: t.Context()})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	for pattern, handler := range routes {
		mux.Handle(pattern, handler)
	}
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.URL, log
}

func publish(t *testing.T, log *eventlog.Log, events ...event.Event) {
	t.Helper()
	var lines []event.Line
	for _, e := range events {
		line, err := event.NewLine(&e)
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, line)
	}
	if len(lines) == 0 {
		return
	}
	if _, err := log.Append(context.Background(), lines); err != nil {
		t.Fatal(err)
	}
}

// found is what a search answers.
type results struct {
	Events           []found
	First, Last, End event.Sequence
}

func look(t *testing.T, base string, query url.Values) (r results) {
	t.Helper()
	response, err := http.Get(base + "/console/events?" + query.Encode())
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s %v", query.Encode(), body, err)
	}
	if err := json.Unmarshal(body, &r); err != nil {
		t.Fatal(err)
	}
	return r
}

// sequences asks on from where an answer ended, until limit are found or the
// log's end is reached.
func sequences(t *testing.T, base string, query url.Values) (all []event.Sequence) {
	t.Helper()
	for {
		r := look(t, base, query)
		for _, f := range r.Events {
			all = append(all, f.Sequence)
		}
		if query.Has("before") && r.First > 1 {
			query.Set("before", fmt.Sprint(uint64(r.First)))
		} else if !query.Has("before") && r.Last < r.End {
			query.Set("after", fmt.Sprint(uint64(r.Last)))
		} else {
			return all
		}
	}
}

var open = NewAccess("", true)

func TestSearchFindsWhatIsAskedForAndNothingElse(t *testing.T) {
	at := func(id, source, typ, subject, time, content string) event.Event {
		e := event.New(id, source, typ, subject, map[string]string{"content": content})
		e.Time = time
		return e
	}
	base, _ := serve(t, open,
		at("a", "/posts", "PostCreated", "post-1", "2026-01-01T10:00:00.000Z", "Hello"),
		at("b", "/comments", "CommentCreated", "post-1", "2026-01-01T10:00:01.000Z", "An Orange"),
		at("b/CommentModerated", "/moderation", "CommentModerated", "post-1", "2026-01-01T10:00:02.000Z", "An orange"),
		at("b/CommentModerated/CommentUpdated", "/comments", "CommentUpdated", "post-1", "2026-01-01T10:00:03.000Z", ""),
		at("bb", "/comments", "CommentCreated", "post-2", "2026-01-01T10:00:04.000Z", "apple"),
	)
	for query, want := range map[string][]event.Sequence{
		"":                                  {1, 2, 3, 4, 5},
		"before=":                           {5, 4, 3, 2, 1},
		"before=4":                          {3, 2, 1},
		"before=5&after=2":                  {4, 3},
		"after=3":                           {4, 5},
		"type=CommentCreated":               {2, 5},
		"type=CommentCreated,PostCreated":   {1, 2, 5},
		"subject=post-2":                    {5},
		"subject=post&before=":              {5, 4, 3, 2, 1},
		"source=/comments":                  {2, 4, 5},
		"id=b":                              {2},
		"family=b":                          {2, 3, 4},
		"text=ORANGE":                       {2, 3},
		"text=ORANGE&before=":               {3, 2},
		"since=2026-01-01T10:00:03Z":        {4, 5},
		"until=2026-01-01T11:00:01%2B01:00": {1, 2},
		"since=2026-01-01T10:00:01Z&until=2026-01-01T10:00:03Z&source=/comments": {2, 4},
		"text=nowhere": nil,
	} {
		values, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		if got := look(t, base, values); got.End != 5 || !slices.EqualFunc(got.Events, want, func(f found, s event.Sequence) bool { return f.Sequence == s }) {
			t.Errorf("%s finds %v, want %d", query, got, want)
		}
	}
}

// TestSearchesFollowOneAnother walks over a log with answers that are short, in
// both directions: nothing is missed, nothing comes twice.
func TestSearchesFollowOneAnother(t *testing.T) {
	const count = 10_000
	var events []event.Event
	var want []event.Sequence
	for i := range count {
		typ := "A"
		if i%7 == 0 {
			typ = "B"
			want = append(want, event.Sequence(i+1))
		}
		events = append(events, event.New(fmt.Sprint("e", i), "/x", typ, "", nil))
	}
	base, _ := serve(t, open, events...)
	if got := sequences(t, base, url.Values{"type": {"B"}, "limit": {"13"}}); !slices.Equal(got, want) {
		t.Errorf("forwards %d were found, want %d", len(got), len(want))
	}
	slices.Reverse(want)
	if got := sequences(t, base, url.Values{"type": {"B"}, "limit": {"13"}, "before": {""}}); !slices.Equal(got, want) {
		t.Errorf("backwards %d were found, want %d", len(got), len(want))
	}
}

func TestSearchEndsWhenItsReaderLeaves(t *testing.T) {
	s := &search{until: time.Now().Add(time.Hour), want: filter{limit: 1}}
	_, log := serve(t, open, event.New("a", "/x", "A", "", nil))
	ctx, leave := context.WithCancel(t.Context())
	leave()
	s.ctx, s.log, s.End, s.want.before = ctx, log, 1, 2
	if err := s.forwards(); err != context.Canceled {
		t.Errorf("forwards: %v", err)
	}
	if err := s.backwards(); err != context.Canceled {
		t.Errorf("backwards: %v", err)
	}
}

func TestWrongSearchesAreRefused(t *testing.T) {
	base, _ := serve(t, open)
	for query, status := range map[string]int{"limit=0": 422, "limit=501": 422, "after=x": 422, "before=-1": 422, "since=today": 422, "a=%zz": 400} {
		response, err := http.Get(base + "/console/events?" + query)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != status {
			t.Errorf("%s: %s, want %d", query, response.Status, status)
		}
	}
}

func TestWhoeverReachesTheBusFromElsewhereNeedsTheToken(t *testing.T) {
	const token = "a token & more"
	for name, c := range map[string]struct {
		access *Access
		with   func(*http.Request)
		status int
		says   string
	}{
		"on this machine":               {NewAccess("", true), nil, 200, "<!doctype html>"},
		"from elsewhere, no token set":  {NewAccess("", false), nil, 403, "CONSOLE_TOKEN"},
		"from elsewhere without one":    {NewAccess(token, false), nil, 401, "token"},
		"on this machine, a token set":  {NewAccess(token, true), nil, 401, "token"},
		"with the wrong bearer token":   {NewAccess(token, false), func(r *http.Request) { r.Header.Set("Authorization", "Bearer x") }, 401, "token"},
		"with an empty one, and no set": {NewAccess("", false), func(r *http.Request) { r.Header.Set("Authorization", "Bearer ") }, 403, "CONSOLE_TOKEN"},
		"with the bearer token":         {NewAccess(token, false), func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) }, 200, "<!doctype html>"},
		"with a cookie of another bus":  {NewAccess(token, false), func(r *http.Request) { r.AddCookie(&http.Cookie{Name: cookie, Value: token}) }, 401, "token"},
		"with the wrong one in the URL": {NewAccess(token, false), func(r *http.Request) { r.URL.RawQuery = "token=x" }, 401, "not the token"},
	} {
		t.Run(name, func(t *testing.T) {
			base, _ := serve(t, c.access)
			for path, accept := range map[string]string{"/": "text/html", "/console/events": "*/*", "/console/log": "*/*", "/console/openapi.json": "*/*"} {
				request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, base+path, nil)
				if err != nil {
					t.Fatal(err)
				}
				request.Header.Set("Accept", accept)
				if c.with != nil {
					c.with(request)
				}
				response, err := http.DefaultClient.Do(request)
				if err != nil {
					t.Fatal(err)
				}
				body, err := io.ReadAll(response.Body)
				response.Body.Close()
				if err != nil || response.StatusCode != c.status {
					t.Errorf("%s: %s (%v), want %d", path, response.Status, err, c.status)
				}
				if path == "/" && !strings.Contains(string(body), c.says) {
					t.Errorf("%s says %s", path, body)
				}
				if strings.Contains(string(body), token) {
					t.Errorf("%s tells the token", path)
				}
			}
		})
	}
}

func TestTokenInTheAddressIsKeptInACookieAndTakenOutOfTheAddress(t *testing.T) {
	const token = "a token & more"
	base, _ := serve(t, NewAccess(token, false))
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Jar: jar}
	response, err := client.Get(base + "/?a=b&token=" + url.QueryEscape(token))
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if got := response.Request.URL.String(); response.StatusCode != http.StatusOK || got != base+"/?a=b" {
		t.Errorf("the browser ends at %s with %s", got, response.Status)
	}
	again, err := client.Get(base + "/console/log")
	if err != nil {
		t.Fatal(err)
	}
	again.Body.Close()
	if again.StatusCode != http.StatusOK {
		t.Errorf("the next request: %s", again.Status)
	}
	for _, c := range jar.Cookies(response.Request.URL) {
		if strings.Contains(c.Value, token) {
			t.Error("the cookie tells the token")
		}
	}
}
