package api

import (
	"bytes"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"

	"miniblog/internal/event"
	"miniblog/internal/web"
	"miniblog/internal/wire"
)

// wantRefusal holds that whatever comes from outside is refused with a problem
// of the 4xx, never with an error that is ours.
func wantRefusal(t *testing.T, err error) {
	t.Helper()
	var p *web.Problem
	if !errors.As(err, &p) || p.Status/100 != 4 || p.Detail == "" {
		t.Errorf("refused with %v", err)
	}
	w := httptest.NewRecorder()
	web.WriteProblem(w, p)
	if !jsontext.Value(w.Body.Bytes()).IsValid() || w.Body.Len() > 2<<10 {
		t.Errorf("the answer is %q", w.Body)
	}
}

// wantLine holds that an event that is taken has a line that the log can
// keep and every reader can use.
func wantLine(t *testing.T, taken event.Line) {
	t.Helper()
	line := taken.Text()
	if !jsontext.Value(line).IsValid() || bytes.ContainsAny(line, "\r\n") || len(line) > web.MaxBody {
		t.Fatalf("the line is %q", line)
	}
	head, ok := event.ReadLine(line)
	if !ok || len(head.ID()) == 0 || len(head.ID()) > event.MaxID || len(head.Type()) == 0 || !bytes.Equal(head.ID(), taken.ID()) {
		t.Fatalf("the head of %q is %+v", line, head)
	}
	e, err := event.ParseLine(line)
	if err != nil || e.ID != string(head.ID()) || e.SpecVersion != "1.0" || e.Source == "" || e.Time == "" {
		t.Fatalf("%q is read as %+v, %v", line, e, err)
	}
}

// seedBodies are the bodies of all bad input, and some that are good.
func seedBodies(f *testing.F, contentType string) {
	for _, attempts := range badInput() {
		for _, a := range attempts {
			if i := slices.Index(a.header, contentType); i > 0 && len(a.body) < 10<<10 {
				f.Add([]byte(a.body))
			}
		}
	}
}

func FuzzEvent(f *testing.F) {
	seedBodies(f, wire.JSON)
	seedBodies(f, wire.Event)
	f.Add([]byte(`{"type":"PostCreated","data":{"id":"1f2e3d4c","title":"a"}}`))
	f.Add([]byte(`{"specversion":"1.0","id":"1","source":"/s","type":"T","time":"2026-11-20T15:00:00+01:00","subject":"s","ext":[1,{"a":"\u0000"}],"data_base64":"AA=="}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		line, err := readLine(body)
		if err != nil {
			wantRefusal(t, err)
			return
		}
		wantLine(t, line)
	})
}

func FuzzBatch(f *testing.F) {
	seedBodies(f, wire.Batch)
	f.Add([]byte(`[{"type":"A"},{"type":"B","id":"b","subject":"s","data":[1, 2]}, {"type":"C","ext":"\r\n"}]`))
	f.Add([]byte(" [\r\n{\"type\":\r\"A\"\n,\t\"x\"\r:\n{\r}}\n]\r"))
	f.Fuzz(func(t *testing.T, body []byte) {
		lines, err := readLines(body)
		if err != nil {
			wantRefusal(t, err)
			return
		}
		for _, line := range lines {
			wantLine(t, line)
		}
	})
}

func FuzzBinaryMode(f *testing.F) {
	f.Add("T", "id", "/s", "subject", "2026-11-20T15:00:00Z", "ext", "value", "application/json", []byte(`{"a":1}`))
	f.Add("%54", `"quo\"ted"`, "%2Fs", "%E2%82%AC", "", "traceparent", "%00", "text/plain; charset=utf-8", []byte("a\r\nb"))
	f.Add("T", "", "", "", "", "data", "x", "image/png", []byte("\x89PNG"))
	f.Add("T", "%", "\xff", "%ff", "now", "", "", "application/x+json", []byte(`{"a":1,"a":2}`))
	f.Add("T", strings.Repeat("%41", 200), `"`, `"\`, "", "datacontenttype", "a/b", ";;", []byte(``))
	f.Fuzz(func(t *testing.T, typ, id, source, subject, time, name, value, contentType string, body []byte) {
		if strings.Trim(strings.ToLower(name), "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return // no server takes such a header
		}
		r := httptest.NewRequest("POST", "/events", bytes.NewReader(body))
		for _, h := range [][2]string{
			{"Specversion", "1.0"}, {"Type", typ}, {"Id", id}, {"Source", source}, {"Subject", subject}, {"Time", time}, {name, value},
		} {
			r.Header.Set("Ce-"+h[0], h[1])
		}
		r.Header.Set("Content-Type", contentType)
		e, err := readBinary(httptest.NewRecorder(), r)
		if err != nil {
			wantRefusal(t, err)
			return
		}
		line, err := newLine(&e)
		if err != nil {
			wantRefusal(t, err)
			return
		}
		wantLine(t, line)
	})
}

func FuzzQuery(f *testing.F) {
	for _, attempts := range badInput() {
		for _, a := range attempts {
			if _, query, found := strings.Cut(a.path, "?"); found {
				f.Add(query, "gzip;q=0.5, zstd")
			}
		}
	}
	for _, query := range []string{"", "after=7&limit=10&type=A,B&wait=30s", "after=00000000000000000007", "type=,,A%2CB,", "wait=1h", "follow=1s&after=3", "after=1&after=x", "limit=%31"} {
		f.Add(query, "*;q=0,gzip ; Q=1")
	}
	f.Fuzz(func(t *testing.T, text, accepted string) {
		q, err := parseWanted(text)
		if err != nil {
			wantRefusal(t, err)
		} else if q.limit == 0 || q.wait < 0 || q.wait > wire.MaxWait || q.types[""] {
			t.Errorf("%q is read as %+v", text, q)
		}
		switch encoding := acceptedEncoding(&http.Request{Header: http.Header{"Accept-Encoding": {accepted}}}); {
		case encoding == "", encoding == "gzip" && strings.Contains(strings.ToLower(accepted), "gzip"):
		case encoding == "zstd" && strings.ContainsAny(strings.ToLower(accepted), "z*"):
		default:
			t.Errorf("%q is answered with %q", accepted, encoding)
		}
	})
}
