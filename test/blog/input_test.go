package blog

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"miniblog/test/harness"
)

// request is one that is to be refused.
type request struct {
	name                            string
	method, path, body, contentType string
	key                             string // Idempotency-Key
	encoding                        string // Content-Encoding
	header                          []string
	status                          int
	field                           string
	allow                           []string // methods
}

const huge = 2 << 20

func TestBadInputIsRefusedWithASentenceAndHarmsNobody(t *testing.T) {
	t.Parallel()
	blog := harness.StartBlog(t, harness.Config{})
	post := blog.MustPost(t, "A post")
	comment := blog.MustComment(t, post.ID, "A comment")
	decided(t, blog.API, post.ID, 1)
	posts, comments, query := blog.Posts.Copies[0], blog.Comments.Copies[0], blog.Query.Copies[0]
	commentsPath := "/posts/" + post.ID + "/comments"
	for _, s := range []struct {
		process  *harness.Process
		good     []request // that prove that it works
		requests []request
	}{
		{posts, []request{
			{method: "POST", path: "/posts/create", body: `{"title":"Good"}`, status: 201},
			{method: "GET", path: "/posts?limit=1&before=" + blog.MustPost(t, "Newer").ID, status: 200},
			{method: "POST", path: "/events", body: `{"type":"Unknown","data":{"any":["thing"]}}`, status: 200},
		}, slices.Concat(
			badBodies("/posts/create", `{"title":%s}`, "title", 200),
			badEvents(),
			badLimits("/posts"),
			badPlaces("/posts", "before"),
			wrongMethods(map[string][]string{"/posts": {"GET", "HEAD"}, "/posts/create": {"POST"}, "/events": {"POST"}}),
			unknownRoutes("/posts/", "/posts/create/", "/Posts", "/posts/1/comments", "/posts/live", "/subscribers"),
		)},
		{comments, []request{
			{method: "POST", path: commentsPath, body: `{"content":"Good"}`, status: 201},
			{method: "GET", path: commentsPath + "?limit=1&after=" + comment.ID, status: 200},
			{method: "GET", path: "/posts/__proto__/comments", status: 200},
			{method: "POST", path: "/events", body: `{"type":"Unknown"}`, status: 200},
		}, slices.Concat(
			badBodies(commentsPath, `{"content":%s}`, "content", 10_000),
			badEvents(),
			badPosts(),
			badLimits(commentsPath),
			badPlaces(commentsPath, "after"),
			wrongMethods(map[string][]string{commentsPath: {"GET", "HEAD", "POST"}, "/events": {"POST"}}),
			unknownRoutes("/posts", "/posts/create", commentsPath+"/", commentsPath+"/1", "/posts/a/b/comments"),
		)},
		{query, []request{
			{method: "GET", path: "/posts?limit=1000&id=" + post.ID, status: 200},
			{method: "GET", path: "/posts?id=__proto__", status: 200},
			{method: "GET", path: "/posts?id=..%2Fx", status: 200},
			{method: "GET", path: "/posts?id=" + strings.Repeat("x", 10_000), status: 200},
			{method: "POST", path: "/events", body: `{"type":"Unknown","data":null}`, status: 200},
		}, slices.Concat(
			badEvents(),
			badLimits("/posts"),
			badPlaces("/posts", "before"),
			badSequences("/posts/live", "after"),
			wrongMethods(map[string][]string{"/posts": {"GET", "HEAD"}, "/posts/live": {"GET", "HEAD"}, "/events": {"POST"}}),
			unknownRoutes("/posts/live/", "/posts/create", commentsPath),
		)},
		{blog.Moderation.Copies[0], []request{
			{method: "POST", path: "/events", body: `{"type":"PostCreated","data":{"id":"1","title":"Good"}}`, status: 200},
		}, slices.Concat(
			badEvents(),
			wrongMethods(map[string][]string{"/events": {"POST"}}),
			unknownRoutes("/posts", "/events/"),
		)},
		{blog.Bus, []request{
			{method: "POST", path: "/events", body: `{"type":"Good","data":{"title":{"a":1}}}`, status: 200},
			{method: "GET", path: "/events?after=1&limit=1&type=Good", status: 200},
			{method: "GET", path: "/events?after=00000000000000000001&limit=9223372036854775807&wait=0s", status: 200},
			{method: "GET", path: "/events?after=18446744073709551615", status: 200},
			{method: "GET", path: "/subscribers", status: 200},
			{method: "POST", path: "/subscribers/comments/replay", body: `{"after":2}`, status: 200},
		}, slices.Concat(
			badBatches(),
			badBusEvents(),
			badSequences("/events", "after"),
			badLimitsOf("/events", "-1", "0", "x", "1.5", "99999999999999999999"),
			badWaits(),
			badReplays(),
			badParts("/", "/console/style.css", "/console/openapi.json"),
			wrongMethods(map[string][]string{"/events": {"GET", "HEAD", "POST"}, "/subscribers": {"GET", "HEAD"}, "/subscribers/comments/replay": {"POST"}}),
			unknownRoutes("/events/", "/events/1", "/subscribers/comments", "/posts"),
		)},
		{blog.Client, []request{
			{method: "GET", path: "/", status: 200},
			{method: "GET", path: "/config.json", status: 200},
		}, slices.Concat(
			badParts("/", "/config.json", "/style.css", "/js/main.js", "/vendor/preact-htm.js"),
			wrongMethods(map[string][]string{"/": {"GET", "HEAD"}, "/config.json": {"GET", "HEAD"}}),
			unknownRoutes("/posts", "/js/", "/js/none.js", "/..%2f..%2fmain.go", "/%00", "/"+strings.Repeat("x", 10_000)),
		)},
	} {
		t.Run(s.process.Name, func(t *testing.T) {
			t.Parallel()
			for _, good := range s.good {
				if answer := send(t, s.process, good); answer.Status != good.status {
					t.Fatalf("%s %s is refused before anything bad was sent: %d %s", good.method, good.path, answer.Status, answer.Body)
				}
			}
			common := slices.Concat(
				wrongMethods(map[string][]string{"/healthz": {"GET", "HEAD"}, "/readyz": {"GET", "HEAD"}, "/metrics": {"GET", "HEAD"}}),
				unknownRoutes("/debug/pprof/none", "/none", "/healthz/", "/__proto__", "/%2e%2e%2fetc%2fpasswd", "/posts/"+strings.Repeat("y", 10_000)),
			)
			for i, bad := range slices.Concat(s.requests, common) {
				t.Run(bad.name, func(t *testing.T) {
					answer := send(t, s.process, bad)
					checkProblem(t, answer, bad.status, bad.field)
					if bad.status == http.StatusMethodNotAllowed {
						checkAllow(t, answer, bad.allow)
					}
					good := s.good[i%len(s.good)]
					if answer := send(t, s.process, good); answer.Status != good.status {
						t.Errorf("the next request, %s %s, got %d %s", good.method, good.path, answer.Status, answer.Body)
					}
				})
			}
			s.process.MustBeAlive()
		})
	}
}

// send sends r to p as it is.
func send(t *testing.T, p *harness.Process, r request) *harness.Answer {
	t.Helper()
	var header []string
	switch {
	case r.contentType == "none":
	case r.contentType != "":
		header = []string{"Content-Type", r.contentType}
	case r.body != "":
		header = []string{"Content-Type", "application/json"}
	}
	if r.key != "" {
		header = append(header, "Idempotency-Key", r.key)
	}
	if r.encoding != "" {
		header = append(header, "Content-Encoding", r.encoding)
	}
	answer, err := harness.Send(t.Context(), r.method, p.URL+r.path, r.body, append(header, r.header...)...)
	if err != nil {
		t.Fatalf("%s %.100s: %v", r.method, r.path, err)
	}
	return answer
}

func checkAllow(t *testing.T, answer *harness.Answer, want []string) {
	t.Helper()
	var got []string
	for method := range strings.SplitSeq(answer.Header.Get("Allow"), ",") {
		got = append(got, strings.TrimSpace(method))
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("Allow is %q, not %q", got, want)
	}
}

// notJSON returns requests whose body is not what its route takes, whatever
// that is.
func notJSON(path string) []request {
	return []request{
		{name: path + " not JSON", path: path, body: `{"title":`, status: 400},
		{name: path + " plain text", path: path, body: `hello`, status: 400},
		{name: path + " two values", path: path, body: `{}{}`, status: 400},
		{name: path + " nothing", path: path, contentType: "application/json", status: 400},
		{name: path + " invalid UTF-8", path: path, body: "{\"title\":\"\xff\xfe\",\"content\":\"\xc0\x80\",\"type\":\"\xff\"}", status: 400},
		{name: path + " half a surrogate", path: path, body: `{"title":"\ud800","content":"\ud800","type":"\ud800"}`, status: 400},
		{name: path + " a name twice", path: path, body: `{"title":"a","title":"b","type":"a","type":"b","content":"a","content":"b"}`, status: 400},
		{name: path + " a number", path: path, body: `7`, status: 400},
		{name: path + " a string", path: path, body: `"hello"`, status: 400},
		{name: path + " null", path: path, body: `null`, status: 400},
		{name: path + " deep", path: path, body: strings.Repeat("[", 200_000), status: 400},
		{name: path + " wrong content type", path: path, body: `{}`, contentType: "text/plain", status: 415},
		{name: path + " a form", path: path, body: `title=a`, contentType: "application/x-www-form-urlencoded", status: 415},
		{name: path + " a content type that is none", path: path, body: `{}`, contentType: ";;;", status: 415},
		{name: path + " compressed", path: path, body: "\x1f\x8b\x08\x00", encoding: "gzip", status: 415},
		{name: path + " 2 MiB", path: path, body: `{"title":"` + strings.Repeat("x", huge) + `"}`, status: 413},
	}
}

// posted makes the requests POSTs.
func posted(requests []request) []request {
	for i := range requests {
		requests[i].method = http.MethodPost
	}
	return requests
}

// badBodies returns what a route refuses that takes one text of at most most
// characters in the member field of form.
func badBodies(path, form, field string, most int) []request {
	with := func(value string) string { return fmt.Sprintf(form, value) }
	requests := append(notJSON(path),
		request{name: path + " no content type", path: path, body: with(`"x"`), contentType: "none", status: 415},
		request{name: path + " an array", path: path, body: `[]`, status: 400},
		request{name: path + " missing", path: path, body: `{}`, status: 422, field: field},
		request{name: path + " empty", path: path, body: with(`""`), status: 422, field: field},
		request{name: path + " blank", path: path, body: with(`" \t\n\u3000"`), status: 422, field: field},
		request{name: path + " too long", path: path, body: with(`"` + strings.Repeat("ä", most+1) + `"`), status: 422, field: field},
		request{name: path + " NUL", path: path, body: with(`"a\u0000b"`), status: 422, field: field},
		request{name: path + " a long key", path: path, body: with(`"x"`), key: strings.Repeat("k", 256), status: 422, field: "Idempotency-Key"},
	)
	for _, value := range []string{`{"a":1}`, `[1]`, `7`, `true`} {
		requests = append(requests, request{name: path + " " + value, path: path, body: with(value), status: 400, field: field})
	}
	// null is no text either
	return posted(append(requests, request{name: path + " a null", path: path, body: with(`null`), status: 422, field: field}))
}

// badEvents returns what POST /events of a service refuses.
func badEvents() []request {
	return posted(append(notJSON("/events"),
		request{name: "/events an array", path: "/events", body: `[]`, status: 400},
		request{name: "/events without a type", path: "/events", body: `{"data":{}}`, status: 422, field: "type"},
		request{name: "/events type of a number", path: "/events", body: `{"type":7}`, status: 400, field: "type"},
		request{name: "/events a post without an id", path: "/events", body: `{"type":"PostCreated","data":{"title":"x"}}`, status: 422, field: "data"},
		request{name: "/events a post without data", path: "/events", body: `{"type":"PostCreated"}`, status: 422, field: "data"},
		request{name: "/events a post of null", path: "/events", body: `{"type":"PostCreated","data":null}`, status: 422, field: "data"},
		request{name: "/events a title of an object", path: "/events", body: `{"type":"PostCreated","data":{"id":"1","title":{"a":1}}}`, status: 422, field: "data"},
		request{name: "/events a comment of an array", path: "/events", body: `{"type":"CommentCreated","data":[]}`, status: 422, field: "data"},
		request{name: "/events a comment of no post", path: "/events", body: `{"type":"CommentUpdated","data":{"id":"1","content":"x","status":"approved"}}`, status: 422, field: "data"},
		request{name: "/events a comment with a long id", path: "/events", body: `{"type":"CommentCreated","data":{"id":"` + strings.Repeat("x", 10_000) + `","postId":"1","content":"x","status":"pending"}}`, status: 422, field: "data"},
		request{name: "/events an id of a number", path: "/events", body: `{"type":"CommentModerated","data":{"id":1,"postId":"1"}}`, status: 422, field: "data"},
	))
}

func badBusEvents() []request {
	return posted(append(notJSON("/events"),
		request{name: "/events an array", path: "/events", body: `[{"type":"x"}]`, status: 400},
		request{name: "/events without a type", path: "/events", body: `{"data":{}}`, status: 422, field: "type"},
		request{name: "/events an empty type", path: "/events", body: `{"type":""}`, status: 422, field: "type"},
		request{name: "/events a type of an object", path: "/events", body: `{"type":{"a":1}}`, status: 400, field: "type"},
		request{name: "/events an id of a number", path: "/events", body: `{"type":"x","id":7}`, status: 400, field: "id"},
		request{name: "/events a long id", path: "/events", body: `{"type":"x","id":"` + strings.Repeat("i", 10_000) + `"}`, status: 422, field: "id"},
		request{name: "/events a long type", path: "/events", body: `{"type":"` + strings.Repeat("t", 129) + `"}`, status: 422, field: "type"},
		request{name: "/events a NUL", path: "/events", body: `{"type":"x","subject":"a\u0000b"}`, status: 422, field: "subject"},
		request{name: "/events another specversion", path: "/events", body: `{"type":"x","specversion":"0.3"}`, status: 422, field: "specversion"},
		request{name: "/events a time that is none", path: "/events", body: `{"type":"x","time":"yesterday"}`, status: 422, field: "time"},
	))
}

func badBatches() []request {
	batch := func(name, body string, status int, field string) request {
		return request{name: "a batch " + name, method: "POST", path: "/events", body: body, contentType: "application/cloudevents-batch+json", status: status, field: field}
	}
	return []request{
		batch("of nothing", `[]`, 422, ""),
		batch("that is an object", `{"type":"x"}`, 400, ""),
		batch("of numbers", `[1]`, 400, "0"),
		batch("that is cut off", `[{"type":"x"},`, 400, ""),
		batch("with one bad event", `[{"type":"x"},{"type":"x"},{"data":1}]`, 422, "2/type"),
		batch("of 17 MiB", `[{"type":"x","data":"`+strings.Repeat("x", 17<<20)+`"}]`, 413, ""),
	}
}

// badPosts returns comments on posts that do not exist.
func badPosts() (requests []request) {
	for name, id := range map[string]string{
		"unknown": "unknown", "__proto__": "__proto__", "../x": url.PathEscape("../x"), "two dots": "%2e%2e",
		"NUL": "%00", "invalid UTF-8": "%ff%fe", "10 kB": strings.Repeat("x", 10_000),
	} {
		requests = append(requests, request{name: "a comment on the post " + name, method: "POST", path: "/posts/" + id + "/comments", body: `{"content":"x"}`, status: 404})
	}
	return append(requests, request{name: "comments of a post with an id of 10 kB", method: "GET", path: "/posts/" + strings.Repeat("x", 10_000) + "/comments", status: 404})
}

func badLimits(path string) []request {
	return badLimitsOf(path, "-1", "0", "1001", "1e3", "x", "1.5", "99999999999999999999", "-99999999999999999999", "%00", "%ff")
}

func badLimitsOf(path string, values ...string) (requests []request) {
	for _, value := range values {
		requests = append(requests, request{name: path + " limit " + value, method: "GET", path: path + "?limit=" + value, status: 422, field: "limit"})
	}
	return requests
}

// badPlaces returns requests for pages that begin at something unknown.
func badPlaces(path, parameter string) (requests []request) {
	for name, value := range map[string]string{
		"unknown": "unknown", "-1": "-1", "__proto__": "__proto__", "../x": "..%2Fx", "NUL": "%00", "invalid UTF-8": "%ff", "10 kB": strings.Repeat("x", 10_000),
	} {
		requests = append(requests, request{name: path + " " + parameter + " " + name, method: "GET", path: path + "?" + parameter + "=" + value, status: 422, field: parameter})
	}
	return requests
}

// badSequences returns requests for events after what is not a sequence.
func badSequences(path, parameter string) (requests []request) {
	for name, value := range map[string]string{
		"-1": "-1", "x": "x", "a fraction": "1.5", "too much": "18446744073709551616", "too many digits": strings.Repeat("0", 21), "NUL": "%00", "10 kB": strings.Repeat("1", 10_000),
	} {
		requests = append(requests, request{name: path + " " + parameter + " " + name, method: "GET", path: path + "?" + parameter + "=" + value, status: 422, field: parameter})
	}
	return requests
}

func badWaits() (requests []request) {
	for _, value := range []string{"-1s", "61s", "x", "5", "9999999h"} {
		requests = append(requests, request{name: "/events wait " + value, method: "GET", path: "/events?wait=" + value, status: 422, field: "wait"})
	}
	return requests
}

func badReplays() []request {
	const path = "/subscribers/comments/replay"
	return posted(append(notJSON(path),
		request{name: "a replay of nobody", path: "/subscribers/nobody/replay", body: `{"after":0}`, status: 404},
		request{name: "a replay of __proto__", path: "/subscribers/__proto__/replay", body: `{"after":0}`, status: 404},
		request{name: "a replay from nowhere", path: path, body: `{}`, status: 422, field: "after"},
		request{name: "a replay from beyond the end", path: path, body: `{"after":999999999}`, status: 422, field: "after"},
		request{name: "a replay from -1", path: path, body: `{"after":-1}`, status: 422, field: "after"},
		request{name: "a replay from an object", path: path, body: `{"after":{"a":1}}`, status: 400, field: "after"},
	))
}

// badParts returns requests for files, plain and compressed, that have changed or
// are not that long: net/http refuses those, in plain text or with nothing at all.
func badParts(paths ...string) (requests []request) {
	for _, path := range paths {
		for _, encoding := range []string{"identity", "gzip"} {
			for status, header := range map[int][]string{412: {"If-Match", `"another"`}, 416: {"Range", "bytes=9999999-"}} {
				requests = append(requests, request{name: fmt.Sprint(path, " ", header[0], " ", encoding), method: "GET", path: path,
					header: append(header, "Accept-Encoding", encoding), status: status})
			}
		}
	}
	return requests
}

// wrongMethods returns every usual method that a path does not allow.
func wrongMethods(allowed map[string][]string) (requests []request) {
	for path, methods := range allowed {
		for _, method := range []string{"GET", "POST", "PUT", "PATCH", "DELETE"} {
			if !slices.Contains(methods, method) {
				requests = append(requests, request{name: method + " " + path, method: method, path: path, status: 405, allow: methods})
			}
		}
	}
	return requests
}

func unknownRoutes(paths ...string) (requests []request) {
	for _, path := range paths {
		requests = append(requests, request{name: "unknown route " + path, method: "GET", path: path, status: 404})
	}
	return requests
}
