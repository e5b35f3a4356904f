package api

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"miniblog/internal/event"
)

// decode takes the encoding that an answer says it has off its body.
func decode(t testing.TB, header http.Header, body string) string {
	t.Helper()
	var r io.Reader = strings.NewReader(body)
	switch encoding := header.Get("Content-Encoding"); encoding {
	case "":
	case "gzip":
		g, err := gzip.NewReader(r)
		if err != nil {
			t.Fatal(err)
		}
		r = g
	case "zstd":
		d, err := zstd.NewReader(r)
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		r = d
	default:
		t.Fatalf("the answer is in the encoding %q", encoding)
	}
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// ranks returns the sequences of the events in an answer, whatever its form.
func (r reply) ranks(t testing.TB) (ranks []event.Sequence) {
	t.Helper()
	if r.err != nil || r.status != http.StatusOK {
		t.Fatalf("answered %d %.300s, %v", r.status, r.body, r.err)
	}
	text := decode(t, r.header, r.body)
	var events []stored
	switch contentType := r.header.Get("Content-Type"); contentType {
	case "application/json":
		if err := json.Unmarshal([]byte(text), &events); err != nil || events == nil {
			t.Fatalf("%v in %.300s", err, text)
		}
	case "application/x-ndjson":
		for line := range strings.Lines(text) {
			var e stored
			if err := json.Unmarshal([]byte(line), &e); err != nil || !strings.HasSuffix(line, "\n") {
				t.Fatalf("%v in %.300s", err, line)
			}
			events = append(events, e)
		}
	case "text/event-stream":
		events = messages(t, bufio.NewReader(strings.NewReader(text)), -1)
	default:
		t.Fatalf("the content type is %q", contentType)
	}
	for _, e := range events {
		rank, err := event.ParseSequence(e.Sequence)
		if err != nil || len(e.Sequence) != event.SequenceDigits {
			t.Fatalf("the sequence of %+v is not one", e)
		}
		ranks = append(ranks, rank)
	}
	return ranks
}

// messages reads n server-sent events, or with -1 all there are, and passes
// over comments.
func messages(t testing.TB, r *bufio.Reader, n int) (events []stored) {
	t.Helper()
	id := ""
	for len(events) != n {
		line, err := r.ReadString('\n')
		if err == io.EOF && n < 0 && line == "" {
			return events
		}
		if err != nil {
			t.Fatalf("the stream ended after %d of %d events: %v", len(events), n, err)
		}
		switch {
		case strings.HasPrefix(line, "id: "):
			id = strings.TrimSpace(line[4:])
		case strings.HasPrefix(line, "data: "):
			var e stored
			if err := json.Unmarshal([]byte(line[6:]), &e); err != nil {
				t.Fatalf("%v in %q", err, line)
			}
			if e.Sequence != id || len(id) != event.SequenceDigits {
				t.Fatalf("the id of event %s is %q", e.Sequence, id)
			}
			events = append(events, e)
		case line == "\n", strings.HasPrefix(line, ":"):
		default:
			t.Fatalf("the stream has the line %q", line)
		}
	}
	return events
}

func wantRanks(t testing.TB, got []event.Sequence, want ...event.Sequence) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got the events %d, want %d", got, want)
	}
}

// forms are the ways to ask for the same events.
var forms = map[string][]string{
	"an array":               nil,
	"an array, gzip":         {"Accept-Encoding", "gzip"},
	"an array, zstd":         {"Accept-Encoding", "gzip, deflate, br, zstd", "Accept", "application/json"},
	"lines":                  {"Accept", "application/x-ndjson"},
	"lines, gzip":            {"Accept", "application/x-ndjson", "Accept-Encoding", "gzip"},
	"lines, zstd":            {"Accept", "application/x-ndjson", "Accept-Encoding", "zstd"},
	"a stream with a limit":  {"Accept", "text/event-stream"},
	"a stream, zstd refused": {"Accept", "text/event-stream", "Accept-Encoding", "zstd"},
}

func TestEveryFormHasTheSameEvents(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	b.fill("A", 3) // 1 2 3
	b.fill("B", 2) // 4 5
	b.fill("A", 2) // 6 7
	b.fill("C", 1) // 8
	tests := map[string]struct {
		query string
		want  []event.Sequence
	}{
		"everything":                    {"", []event.Sequence{1, 2, 3, 4, 5, 6, 7, 8}},
		"after the middle of a batch":   {"after=2", []event.Sequence{3, 4, 5, 6, 7, 8}},
		"after 20 digits":               {"after=00000000000000000005", []event.Sequence{6, 7, 8}},
		"after an empty parameter":      {"after=&type=&wait=&limit=", []event.Sequence{1, 2, 3, 4, 5, 6, 7, 8}},
		"a limit within a batch":        {"limit=2", []event.Sequence{1, 2}},
		"a limit beyond the end":        {"after=6&limit=9223372036854775807", []event.Sequence{7, 8}},
		"after and limit":               {"after=1&limit=4", []event.Sequence{2, 3, 4, 5}},
		"one type":                      {"type=A", []event.Sequence{1, 2, 3, 6, 7}},
		"two types":                     {"type=C,B", []event.Sequence{4, 5, 8}},
		"a type within what comes":      {"after=2&type=A", []event.Sequence{3, 6, 7}},
		"a limit counts what was asked": {"after=1&type=A&limit=3", []event.Sequence{2, 3, 6}},
		"unknown parameters":            {"after=7&x=y", []event.Sequence{8}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			for form, header := range forms {
				query := test.query
				if strings.HasPrefix(form, "a stream") {
					query = fmt.Sprintf("limit=%d&%s", len(test.want), query) // else it goes on
				}
				r := b.send("GET", "/events?"+query, "", header...)
				t.Run("as "+form, func(t *testing.T) { wantRanks(t, r.ranks(t), test.want...) })
				if r.header.Get("Event-Sequence-Last") != "00000000000000000008" || len(r.header.Get("Event-Log")) != 36 {
					t.Errorf("the headers are %v", r.header)
				}
			}
		})
	}
	for form, header := range forms {
		if strings.HasPrefix(form, "a stream") {
			continue
		}
		t.Run("nothing as "+form, func(t *testing.T) {
			for _, query := range []string{"after=8", "after=99", "after=18446744073709551615", "type=D", "type=" + strings.Repeat("x", 10<<10)} {
				wantRanks(t, b.send("GET", "/events?"+query, "", header...).ranks(t))
			}
		})
	}
}

func TestEncodingIsOneThatTheReaderAccepts(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	b.fill("A", 1)
	for accepted, want := range map[string]string{
		"": "", "identity": "", "br": "", "gzip": "gzip", "GZIP": "gzip", "zstd": "zstd", "gzip, zstd": "zstd", "gzip;q=0, zstd;q=0": "", "gzip;q=0.5, zstd; q=0": "gzip",
		"zstd;q=0.000, *;q=0": "", "zstd;Q=0": "", "*": "zstd", "x-gzip": "", "gzip;q=x": "",
	} {
		for _, form := range []string{"application/json", "application/x-ndjson"} {
			r := b.send("GET", "/events", "", "Accept", form, "Accept-Encoding", accepted)
			if got := r.header.Get("Content-Encoding"); got != want {
				t.Errorf("%s with Accept-Encoding %q: got %q, want %q", form, accepted, got, want)
			}
			wantRanks(t, r.ranks(t), 1)
		}
	}
}

func TestAnswerSaysWhatItDependsOn(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	r := b.send("GET", "/events", "", "Origin", "http://localhost:3000")
	vary := strings.Join(r.header.Values("Vary"), ", ")
	for _, name := range []string{"Origin", "Accept", "Accept-Encoding"} {
		if !strings.Contains(vary, name) {
			t.Errorf("Vary is %q, without %s", vary, name)
		}
	}
	if r.header.Get("Access-Control-Allow-Origin") != "http://localhost:3000" || !strings.Contains(r.header.Get("Access-Control-Expose-Headers"), "Event-Log") {
		t.Errorf("the page may not read it: %v", r.header)
	}
	if r.header.Get("Cache-Control") != "no-cache" {
		t.Errorf("Cache-Control is %q", r.header.Get("Cache-Control"))
	}
}

// After a volume was rolled back the log has its old id and other events, and
// its readers used to go on in it.
func TestReaderOfAnotherHistoryIsToldAtOnce(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	b.post("application/json", `{"type":"T","id":"first"}`)
	b.post("application/json", `{"type":"T","id":"a&b=ü"}`)
	b.post("application/json", `{"type":"T","id":"third"}`)
	b.fill("A", 10)
	for form, header := range forms {
		t.Run(form, func(t *testing.T) {
			for _, query := range []string{"after=2&after-id=other", "after=2&after-id=first&wait=60s", "after=13&after-id=third&wait=60s", "after=14&after-id=x&wait=60s"} {
				b.send("GET", "/events?limit=1&"+query, "", header...).wantProblem(t, http.StatusConflict, "")
			}
			for query, want := range map[string]event.Sequence{"after=2&after-id=a%26b%3D%C3%BC": 3, "after=3&after-id=third": 4, "after=0&after-id=x": 1, "after-id=x": 1, "after=1&after-id=": 2} {
				wantRanks(t, b.send("GET", "/events?limit=1&"+query, "", header...).ranks(t), want)
			}
		})
	}
	t.Run("also when nothing is in memory", func(t *testing.T) {
		b := b.restart()
		b.send("GET", "/events?after=2&after-id=other", "").wantProblem(t, http.StatusConflict, "")
		wantRanks(t, b.send("GET", "/events?limit=1&after=2&after-id=a%26b%3D%C3%BC", "").ranks(t), 3)
	})
}

// mustLine returns a body of POST /events as a line of the log.
func mustLine(t testing.TB, body string) event.Line {
	t.Helper()
	line, err := readLine([]byte(body))
	if err != nil {
		t.Fatal(err)
	}
	return line
}
