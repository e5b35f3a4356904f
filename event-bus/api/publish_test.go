package api

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"miniblog/internal/event"
	"miniblog/internal/wire"
)

var uuid7 = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)

func TestWhatIsMissingIsFilledIn(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	before := time.Now().Truncate(time.Millisecond)
	answer := b.post("application/json", `{"type":"PostCreated","data":{"id":"1f2e3d4c","title":"a  <title>"}}`)
	if answer.Status != "OK" || answer.Sequence != 1 || !uuid7.MatchString(answer.ID) || answer.Duplicate {
		t.Errorf("answered %+v", answer)
	}
	e := b.newest()
	at, err := time.Parse(time.RFC3339Nano, e.Time)
	if err != nil || at.Before(before) || at.After(time.Now()) {
		t.Errorf("its time is %q", e.Time)
	}
	if e.SpecVersion != "1.0" || e.ID != answer.ID || e.Source != "/event-bus" || e.Type != "PostCreated" || e.Sequence != "00000000000000000001" ||
		e.compactData() != `{"id":"1f2e3d4c","title":"a  <title>"}` {
		t.Errorf("stored %+v, data %s", e, e.Data)
	}
	if _, there := e.Fields["subject"]; there {
		t.Error("a subject was made up")
	}
}

func TestFullEventIsStoredAsItIs(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	for _, contentType := range []string{
		"application/json", "application/json; charset=utf-8", "application/cloudevents+json", "application/CloudEvents+json; charset=UTF-8",
	} {
		id := "an id for " + contentType
		answer := b.post(contentType, fmt.Sprintf(` {
			"specversion" : "1.0", "id" : %q, "source" : "/ö", "type" : "T\u0041", "time" : "2026-11-20T15:00:00.5+01:00", "subject" : "s\"\\",
			"sequence" : "00000000000000000700", "dataschema" : "x:y", "ext" : {"deep" : [1, 2.50, null]}, "data" : [ "a b" , 1e3 ] } `, id))
		if answer.ID != id {
			t.Errorf("answered %+v", answer)
		}
		e := b.newest()
		if e.Sequence != answer.Sequence.String() || e.ID != id || e.Source != "/ö" || e.Type != "TA" || e.Time != "2026-11-20T15:00:00.5+01:00" || e.Subject != `s"\` {
			t.Errorf("stored %+v", e)
		}
		if e.compactData() != `["a b",1e3]` || e.Fields["dataschema"] != "x:y" || fmt.Sprint(e.Fields["ext"]) != "map[deep:[1 2.5 <nil>]]" {
			t.Errorf("stored data %s of %v", e.Data, e.Fields)
		}
	}
}

func TestBinaryModeIsTheSameEvent(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	tests := map[string]struct {
		contentType, body string
		header            []string
		want              map[string]string // member of the stored event, and its JSON
	}{
		"attributes are headers": {"application/json", ` {"a" : 1} `,
			[]string{"Ce-Id", "b1", "Ce-Source", "/s", "Ce-Subject", "p", "Ce-Time", "2026-11-20T15:00:00Z", "Ce-Comexampleext", "v"},
			map[string]string{"id": "b1", "source": "/s", "subject": "p", "time": "2026-11-20T15:00:00Z", "comexampleext": "v", "data": `{"a":1}`}},
		"percent-encoding is taken off once": {"", "",
			[]string{"Ce-Id", "b2", "Ce-Subject", "Euro%20%E2%82%AC%20%F0%9F%98%80 100%2525"},
			map[string]string{"subject": "Euro € 😀 100%25", "data": ""}},
		"quotes are taken off": {"", "",
			[]string{"Ce-Id", "b3", "Ce-Subject", `"a \"quoted\" \\ word"`},
			map[string]string{"subject": `a "quoted" \ word`}},
		"no content type means JSON": {"", `[1]`, []string{"Ce-Id", "b4"}, map[string]string{"data": `[1]`, "datacontenttype": ""}},
		"other JSON keeps its type":  {"application/geo+json", `{}`, []string{"Ce-Id", "b5"}, map[string]string{"data": `{}`, "datacontenttype": "application/geo+json"}},
		"text becomes a string":      {"text/plain; charset=utf-8", "a\nb", []string{"Ce-Id", "b6"}, map[string]string{"data": `"a\nb"`, "datacontenttype": "text/plain; charset=utf-8"}},
		"anything else is base64":    {"image/png", "\x89PNG", []string{"Ce-Id", "b7"}, map[string]string{"data": "", "data_base64": "iVBORw==", "datacontenttype": "image/png"}},
		"the position is the bus's":  {"", "", []string{"Ce-Id", "b8", "Ce-Sequence", "4711"}, map[string]string{"id": "b8"}},
		"the content type is the header's, not an attribute": {"application/json", "{}", []string{"Ce-Id", "b9", "Ce-Datacontenttype", "text/plain"},
			map[string]string{"data": `{}`, "datacontenttype": ""}},
		"a structured event stays one, whatever else is said": {"application/cloudevents+json", `{"type":"T","id":"b10","data":1}`, []string{"Ce-Id", "other"},
			map[string]string{"id": "b10", "data": "1"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			header := append(test.header, "Ce-Specversion", "1.0", "Ce-Type", "T")
			if test.contentType != "" {
				header = append(header, "Content-Type", test.contentType)
			}
			r := b.send("POST", "/events", test.body, header...)
			var answer wire.Receipt
			r.wantJSON(t, http.StatusOK, &answer)
			e := b.newest()
			if e.Sequence != answer.Sequence.String() || e.Type != "T" || e.SpecVersion != "1.0" {
				t.Errorf("answered %+v and stored %+v", answer, e)
			}
			for member, want := range test.want {
				got := ""
				if member == "data" {
					got = e.compactData()
				} else if v, there := e.Fields[member]; there {
					got = v.(string)
				}
				if got != want {
					t.Errorf("%s is %s, want %s", member, got, want)
				}
			}
		})
	}
}

func TestBatchIsStoredAsOne(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	b.post("application/json", `{"type":"before"}`)
	r := b.send("POST", "/events", `[{"type":"A"},{"type":"B","id":"b"},{"type":"C"}]`, "Content-Type", wire.Batch)
	var answer map[string]any
	r.wantJSON(t, http.StatusOK, &answer)
	if len(answer) != 3 || answer["status"] != "OK" || answer["first"] != event.Sequence(2).String() || answer["last"] != event.Sequence(4).String() {
		t.Errorf("answered %v", answer)
	}
	if types := typesOf(b.events()); types != "before A B C" {
		t.Errorf("stored %s", types)
	}

	t.Run("all or none", func(t *testing.T) {
		r := b.send("POST", "/events", `[{"type":"D"},{"type":"E","id":"`+strings.Repeat("x", 129)+`"}]`, "Content-Type", wire.Batch)
		r.wantProblem(t, http.StatusUnprocessableEntity, "1/id")
		if types := typesOf(b.events()); types != "before A B C" {
			t.Errorf("stored %s", types)
		}
	})
	t.Run("says where each one is if some were there before", func(t *testing.T) {
		r := b.send("POST", "/events", `[{"type":"F"},{"type":"B","id":"b"},{"type":"G","id":"g"},{"type":"G","id":"g"}]`, "Content-Type", wire.Batch)
		var answer wire.BatchReceipt
		r.wantJSON(t, http.StatusOK, &answer)
		if fmt.Sprintf("%d", answer.Sequences) != "[5 3 6 6]" || fmt.Sprint(answer.Duplicates) != "[false true false true]" || answer.First != 5 || answer.Last != 6 {
			t.Errorf("answered %+v", answer)
		}
		if types := typesOf(b.events()); types != "before A B C F G" {
			t.Errorf("stored %s", types)
		}
	})
}

// Where only moderation may say what is approved, nobody else can.
func TestTypeThatIsForRepliesAloneIsRefused(t *testing.T) {
	t.Parallel()
	b := startBus(t, "REPLY_ONLY_TYPES", "CommentModerated")
	for _, body := range []string{`{"type":"CommentModerated"}`, `{"type":"Comment\u004doderated","data":{}}`} {
		b.send("POST", "/events", body, "Content-Type", "application/json").wantProblem(t, http.StatusForbidden, "type")
		b.send("POST", "/events", `[{"type":"Other"},`+body+`]`, "Content-Type", wire.Batch).wantProblem(t, http.StatusForbidden, "1/type")
	}
	b.send("POST", "/events", "", "Ce-Specversion", "1.0", "Ce-Type", "Comment%4doderated").wantProblem(t, http.StatusForbidden, "type")
	line := mustLine(t, `{"type":"CommentModerated"}`)
	b.send("POST", "/events", string(line.Text()), "Content-Type", wire.Event).wantProblem(t, http.StatusForbidden, "type")
	if types := typesOf(b.events()); types != "" {
		t.Errorf("stored are %s", types)
	}
	b.post("application/json", `{"type":"Other"}`)
}

// The CloudEvents extension for distributed tracing is passed on.
func TestTraceOfAnEventIsKept(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	const parent, state = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "rojo=00f067aa0ba902b7"
	want := func(form string) {
		t.Helper()
		if e := b.newest(); e.Fields["traceparent"] != parent || e.Fields["tracestate"] != state {
			t.Errorf("%s: stored %v", form, e.Fields)
		}
	}
	member := fmt.Sprintf(`"traceparent":%q,"tracestate":%q`, parent, state)
	b.post("application/json", `{"type":"T",`+member+`,"data":{}}`)
	want("one event")
	b.send("POST", "/events", `[{"type":"T",`+member+`}]`, "Content-Type", wire.Batch).wantJSON(t, http.StatusOK, nil)
	want("a batch")
	b.send("POST", "/events", `{}`, "Content-Type", "application/json", "Ce-Specversion", "1.0", "Ce-Type", "T", "Ce-Traceparent", parent, "Ce-Tracestate", state).wantJSON(t, http.StatusOK, nil)
	want("binary mode")
	b.post("application/json", strings.TrimSuffix(b.send("GET", "/events?limit=1", "", "Accept", "application/x-ndjson").body, "\n"))
	want("a line of the log")
}

func typesOf(events []stored) string {
	var types []string
	for _, e := range events {
		types = append(types, e.Type)
	}
	return strings.Join(types, " ")
}

func TestIdIsStoredOnce(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	first := b.post("application/json", `{"type":"T","id":"x","data":1}`)
	b.post("application/json", `{"type":"T","id":"y"}`)
	check := func(b *runningBus) {
		t.Helper()
		again := b.post("application/cloudevents+json", `{"type":"T","id":"x","data":2}`)
		if again.ID != "x" || again.Sequence != first.Sequence || !again.Duplicate {
			t.Errorf("answered %+v, want a duplicate of %d", again, first.Sequence)
		}
		if all := b.events(); len(all) != 2 || all[0].compactData() != "1" {
			t.Errorf("the log holds %+v", all)
		}
	}
	check(b)
	t.Run("also after a restart", func(t *testing.T) { check(b.restart()) })
}

func TestPublishersAtOnceAllGetTheirPlace(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	const publishers, each = 16, 20
	answers := make(chan reply, publishers*each)
	for p := range publishers {
		go func() {
			for i := range each {
				r, _ := b.try("POST", "/events", strings.NewReader(fmt.Sprintf(`{"type":"T","id":"%d-%d"}`, p, i)), "Content-Type", "application/json")
				answers <- r
			}
		}()
	}
	at := map[string]string{}
	for range publishers * each {
		var a wire.Receipt
		(<-answers).wantJSON(t, http.StatusOK, &a)
		at[a.Sequence.String()] = a.ID
	}
	all := b.events()
	if len(all) != publishers*each {
		t.Fatalf("%d events are stored", len(all))
	}
	for _, e := range all {
		if at[e.Sequence] != e.ID {
			t.Errorf("event %s is %s, and its publisher was told %s", e.Sequence, e.ID, at[e.Sequence])
		}
	}
}
