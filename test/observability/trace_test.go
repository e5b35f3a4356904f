package observability

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"miniblog/test/harness"
)

const limit = 30 * time.Second // a busy machine is no error

// What a browser, or the ingress, sends along with a request.
const (
	browserTrace = "4bf92f3577b34da6a3ce929d0e0e4736"
	browserSpan  = "00f067aa0ba902b7"
)

// life is the trace of one comment: whoever sent the request, and below it what
// happened for it, where and because of what.
const life = `
comments: POST /posts/{id}/comments
  comments: publish CommentCreated
    comments: POST
      event-bus: POST /events
        event-bus: append
    comments: apply CommentCreated
    event-bus: push CommentCreated
      event-bus: append
      moderation: POST /events
        moderation: process CommentCreated
          moderation: create CommentModerated
            comments: apply CommentModerated
            event-bus: push CommentModerated
              comments: POST /events
                comments: process CommentModerated
                  comments: create CommentUpdated
                    comments: apply CommentUpdated
                    query: apply CommentUpdated
                    query: show CommentUpdated
              event-bus: append
    query: apply CommentCreated
    query: show CommentCreated`

// TestACommentIsOneTrace: from the request of the browser to the live stream,
// over comments, event-bus, moderation and query. The other two serve no part of
// it: posts follows posts alone, and the browser sends the comment past the
// client, which serves the page and its files. They have traces of their own.
func TestACommentIsOneTrace(t *testing.T) {
	r := newReceiver(t)
	blog := startTraced(t, r)
	post := blog.MustPost(t, "Traced")
	harness.Follow(t, blog.QueryURL+"/posts/live")

	comment(t, blog, post.ID, "seen all the way", "traceparent", "00-"+browserTrace+"-"+browserSpan+"-01")
	want := strings.TrimPrefix(life, "\n")
	harness.Eventually(t, limit, func() error {
		if got := strings.Join(tree(r.of(browserTrace), browserSpan, 0), "\n"); got != want {
			return fmt.Errorf("the trace is\n%s\nnot\n%s", got, want)
		}
		return nil
	})
	spans := r.of(browserTrace)
	if got := strings.Count(want, "\n") + 1; len(spans) != got {
		t.Errorf("the trace has %d spans, and %d of them hang together", len(spans), got)
	}

	t.Run("its spans are those of OpenTelemetry's conventions", func(t *testing.T) {
		kinds := map[string]tracepb.Span_SpanKind{
			"publish": tracepb.Span_SPAN_KIND_PRODUCER, "create": tracepb.Span_SPAN_KIND_PRODUCER, "show": tracepb.Span_SPAN_KIND_CLIENT,
			"push": tracepb.Span_SPAN_KIND_CLIENT, "process": tracepb.Span_SPAN_KIND_CONSUMER, "apply": tracepb.Span_SPAN_KIND_CONSUMER,
			"append": tracepb.Span_SPAN_KIND_INTERNAL,
		}
		types := map[string]string{"publish": "send", "create": "create", "show": "send", "push": "send", "process": "process", "apply": "process"}
		created := map[string]string{} // the span whose context an event carries, by its id
		for _, s := range spans {
			if s.kind == tracepb.Span_SPAN_KIND_PRODUCER {
				created[s.attributes["messaging.message.id"]] = s.id
			}
		}
		for _, s := range spans {
			operation, typ, _ := strings.Cut(s.name, " ")
			kind, ours := kinds[operation]
			switch {
			case s.failed:
				t.Errorf("%s of %s is marked as failed", s.name, s.service)
			case s.name == "POST":
				kind = tracepb.Span_SPAN_KIND_CLIENT
			case !ours:
				kind = tracepb.Span_SPAN_KIND_SERVER
				if s.attributes["http.request.method"]+" "+s.attributes["http.route"] != s.name || s.attributes["http.response.status_code"] == "" {
					t.Errorf("the request %s of %s has the attributes %v", s.name, s.service, s.attributes)
				}
			case operation == "append":
			case s.attributes["messaging.operation.name"] != operation, s.attributes["messaging.operation.type"] != types[operation],
				s.attributes["messaging.destination.name"] != typ, s.attributes["messaging.system"] != "miniblog",
				s.attributes["messaging.message.id"] == "", s.attributes["cloudevents.event_type"] != typ:
				t.Errorf("%s of %s has the attributes %v", s.name, s.service, s.attributes)
			}
			if s.attributes["messaging.batch.message_count"] != "" {
				t.Errorf("%s of %s says that one event is a batch", s.name, s.service)
			}
			if toServer := kind == tracepb.Span_SPAN_KIND_CLIENT && operation != "show" || operation == "publish"; toServer != (s.attributes["server.address"] != "" && s.attributes["server.port"] != "") {
				t.Errorf("%s of %s goes to the server %s:%s", s.name, s.service, s.attributes["server.address"], s.attributes["server.port"])
			}
			if created := created[s.attributes["messaging.message.id"]]; created != "" && created != s.id && !slices.Equal(s.links, []string{created}) {
				t.Errorf("%s of %s is linked to %v, not to %s, whose context the event carries", s.name, s.service, s.links, created)
			}
			if s.kind != kind {
				t.Errorf("%s of %s has the kind %v, not %v", s.name, s.service, s.kind, kind)
			}
		}
	})
	t.Run("log lines name it", func(t *testing.T) {
		for process, message := range map[*harness.Process]string{blog.Comments.Copies[0]: "comment created", blog.Moderation.Copies[0]: "reaction answered"} {
			if !slices.ContainsFunc(strings.Split(string(process.Output()), "\n"), func(line string) bool {
				return strings.Contains(line, message) && strings.Contains(line, "trace_id="+browserTrace) && strings.Contains(line, "span_id=")
			}) {
				t.Errorf("no line %q of %s has trace_id=%s", message, process.Name, browserTrace)
			}
		}
	})
	t.Run("a post is a trace, too", func(t *testing.T) {
		want := `posts: POST /posts/create
  posts: publish PostCreated
    comments: apply PostCreated
    posts: POST
      event-bus: POST /events
        event-bus: append
    posts: apply PostCreated
    query: apply PostCreated
    query: show PostCreated`
		blog.MustPost(t, "Shown live")
		harness.Eventually(t, limit, func() error {
			for _, s := range r.all() {
				if s.name == "POST /posts/create" && strings.Join(tree(r.of(s.trace), "", 0), "\n") == want {
					return nil
				}
			}
			return fmt.Errorf("there is no trace\n%s", want)
		})
	})
	t.Run("a page that is loaded is a trace of the client", func(t *testing.T) {
		harness.Must(harness.Send(t.Context(), http.MethodGet, blog.PageURL+"/", ""))(t)
		harness.Eventually(t, limit, func() error {
			for _, s := range r.all() {
				if s.service == "client" && s.parent == "" && s.kind == tracepb.Span_SPAN_KIND_SERVER {
					return nil
				}
			}
			return fmt.Errorf("the client has sent no span")
		})
	})
	t.Run("a request without a context starts a trace at the service", func(t *testing.T) {
		comment(t, blog, post.ID, "from a browser that traces nothing")
		harness.Eventually(t, limit, func() error {
			for _, s := range r.all() {
				if s.name == "POST /posts/{id}/comments" && s.parent == "" && strings.Join(tree(r.of(s.trace), "", 0), "\n") == want {
					return nil
				}
			}
			return fmt.Errorf("there is no second trace of a comment")
		})
	})
	t.Run("history is not traced again", func(t *testing.T) {
		query := blog.Query.Copies[0]
		query.Stop()
		for _, entry := range harness.Must(os.ReadDir(query.Dir))(t) {
			if err := os.RemoveAll(filepath.Join(query.Dir, entry.Name())); err != nil {
				t.Fatal(err)
			}
		}
		query.Start()
		query.AwaitReady()
		query.Stop() // it sends what it has
		if after := r.of(browserTrace); len(after) != len(spans) {
			t.Errorf("the trace has grown from %d spans to %d", len(spans), len(after))
		}
	})
}

// comment publishes a comment.
func comment(t *testing.T, blog *harness.Blog, post, content string, header ...string) {
	t.Helper()
	header = append(header, "Content-Type", "application/json")
	answer := harness.Must(harness.Send(t.Context(), http.MethodPost, blog.CommentsURL+"/posts/"+post+"/comments", `{"content":"`+content+`"}`, header...))(t)
	if answer.Status != http.StatusCreated {
		t.Fatalf("answered %d %s", answer.Status, answer.Body)
	}
}

// TestNothingWaitsForAReceiverThatIsAway: spans are lost, and that is all.
func TestNothingWaitsForAReceiverThatIsAway(t *testing.T) {
	gone := newReceiver(t)
	gone.url = "http://" + harness.FreeAddress(t)
	blog := startTraced(t, gone)
	post := blog.MustPost(t, "Untraced")
	blog.MustComment(t, post.ID, "A comment")
	const message = "traces cannot be exported"
	harness.Eventually(t, limit, func() error {
		if !strings.Contains(string(blog.Comments.Copies[0].Output()), message) {
			return fmt.Errorf("comments does not say that %s", message)
		}
		return nil
	})
	for _, p := range blog.Processes() {
		p.Stop() // within the time that is promised
	}
}

// TestWithoutATraceNothingIsAdded: the log of a blog that is not traced has
// events as they always were.
func TestWithoutATraceNothingIsAdded(t *testing.T) {
	blog := harness.NewBlog(t, harness.Config{})
	for _, p := range blog.Processes() {
		p.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
		p.Setenv("OTEL_SDK_DISABLED", "true")
		p.Start()
	}
	blog.AwaitReady()
	post := blog.MustPost(t, "Untraced")
	comment(t, blog, post.ID, "A comment", "traceparent", "00-"+browserTrace+"-"+browserSpan+"-01")
	events := harness.Must(blog.ListEvents(t.Context()))(t)
	text := harness.Must(harness.Send(t.Context(), http.MethodGet, blog.BusURL+"/events", ""))(t)
	if len(events) < 2 || strings.Contains(string(text.Body), "traceparent") {
		t.Errorf("the log has %s", text.Body)
	}
}
