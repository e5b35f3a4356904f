package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"miniblog/internal/event"
	"miniblog/internal/web"
	"miniblog/internal/wire"
)

// attempt is a request that a publisher or reader should not send.
type attempt struct {
	method, path string
	body         string
	header       []string
	status       int
	field        string
}

// badInput is by route; each name says what is wrong.
func badInput() map[string]map[string]attempt {
	const (
		plain = "application/json"
		ce    = "application/cloudevents+json"
	)
	publish := func(contentType, body string, status int, field string) attempt {
		return attempt{"POST", "/events", body, []string{"Content-Type", contentType}, status, field}
	}
	binary := func(body string, status int, field string, header ...string) attempt {
		return attempt{"POST", "/events", body, append([]string{"Ce-Specversion", "1.0", "Ce-Type", "T"}, header...), status, field}
	}
	fetch := func(query string, status int, field string) attempt {
		return attempt{"GET", "/events?" + query, "", nil, status, field}
	}
	replay := func(name, body string, status int, field string) attempt {
		return attempt{"POST", "/subscribers/" + name + "/replay", body, []string{"Content-Type", plain}, status, field}
	}
	deep := strings.Repeat("[", event.MaxDepth) + strings.Repeat("]", event.MaxDepth)
	long, huge := strings.Repeat("x", 129), strings.Repeat("x", 10<<10)
	return map[string]map[string]attempt{
		"publish": {
			"no content type":              {"POST", "/events", `{"type":"T"}`, nil, 415, ""},
			"another content type":         publish("text/plain", `{"type":"T"}`, 415, ""),
			"a form":                       publish("application/x-www-form-urlencoded", `type=T`, 415, ""),
			"another format of events":     publish("application/cloudevents+avro", `{"type":"T"}`, 415, ""),
			"nothing":                      publish(plain, ``, 400, ""),
			"not JSON":                     publish(plain, `type: T`, 400, ""),
			"cut short":                    publish(ce, `{"type":"T","data":{`, 400, ""),
			"two events":                   publish(plain, `{"type":"T"}{"type":"T"}`, 400, ""),
			"null":                         publish(plain, `null`, 400, ""),
			"a number":                     publish(plain, `42`, 400, ""),
			"a string":                     publish(plain, `"T"`, 400, ""),
			"true":                         publish(ce, `true`, 400, ""),
			"an array":                     publish(plain, `[{"type":"T"}]`, 400, ""),
			"an empty object":              publish(plain, `{}`, 422, "type"),
			"an empty type":                publish(plain, `{"type":""}`, 422, "type"),
			"null for the type":            publish(plain, `{"type":null}`, 422, "type"),
			"an object for the type":       publish(plain, `{"type":{"a":1}}`, 400, "type"),
			"a number for the type":        publish(plain, `{"type":1}`, 400, "type"),
			"an array for the id":          publish(plain, `{"type":"T","id":["a"]}`, 400, "id"),
			"a number for the sequence":    publish(plain, `{"type":"T","sequence":1}`, 400, "sequence"),
			"a word for the sequence":      publish(plain, `{"type":"T","sequence":"first"}`, 400, "sequence"),
			"a type that is too long":      publish(plain, `{"type":"`+long+`"}`, 422, "type"),
			"an id that is too long":       publish(plain, `{"type":"T","id":"`+long+`"}`, 422, "id"),
			"an id of 10 kB":               publish(ce, `{"type":"T","id":"`+huge+`"}`, 422, "id"),
			"a subject that is too long":   publish(plain, `{"type":"T","subject":"`+long+`"}`, 422, "subject"),
			"a source that is too long":    publish(plain, `{"type":"T","source":"`+long+`"}`, 422, "source"),
			"NUL in the id":                publish(plain, `{"type":"T","id":"a\u0000"}`, 422, "id"),
			"NUL in the type":              publish(plain, `{"type":"\u0000"}`, 422, "type"),
			"NUL in the subject":           publish(plain, `{"type":"T","subject":"\u0000"}`, 422, "subject"),
			"NUL as it is":                 publish(plain, "{\"type\":\"a\x00\"}", 400, ""),
			"a time that is none":          publish(plain, `{"type":"T","time":"yesterday"}`, 422, "time"),
			"a time without a zone":        publish(plain, `{"type":"T","time":"2026-11-20T15:00:00"}`, 422, "time"),
			"another version":              publish(ce, `{"specversion":"0.3","type":"T"}`, 422, "specversion"),
			"invalid UTF-8":                publish(plain, "{\"type\":\"T\",\"data\":\"\xff\"}", 400, ""),
			"half a surrogate":             publish(plain, `{"type":"T","data":"\ud83d"}`, 400, ""),
			"a name twice":                 publish(plain, `{"type":"T","type":"U"}`, 400, ""),
			"a name twice, once escaped":   publish(plain, `{"type":"T","typ\u0065":"U"}`, 400, ""),
			"a name twice in the data":     publish(plain, `{"type":"T","data":{"a":1,"a":2}}`, 400, ""),
			"nested without end":           publish(plain, `{"type":"T","data":`+strings.Repeat("[", 500_000)+strings.Repeat("]", 500_000)+`}`, 400, ""),
			"nested too deep":              publish(plain, `{"type":"T","data":`+deep+`}`, 422, ""),
			"nested too deep, a line":      publish(ce, `{"specversion":"1.0","sequence":"00000000000000000000","id":"i","type":"T","source":"/s","time":"2026-11-20T15:00:00Z","data":`+deep+`}`, 422, ""),
			"nested too deep, unknown":     publish(ce, `{"type":"T","ext":`+deep+`}`, 422, ""),
			"nested too deep, binary":      binary(deep, 422, "", "Content-Type", plain),
			"nested too deep, in a batch":  publish(wire.Batch, `[{"type":"T"},{"type":"T","data":`+deep+`}]`, 422, "1"),
			"a byte order mark":            publish(plain, "\xef\xbb\xbf{\"type\":\"T\"}", 400, ""),
			"2 MiB":                        publish(plain, `{"type":"T","data":"`+strings.Repeat("x", 2<<20)+`"}`, 413, ""),
			"1 MiB and its envelope":       publish(plain, `{"type":"T","data":"`+strings.Repeat("x", 1<<20-30)+`"}`, 413, ""),
			"1 MiB of what is not text":    {"POST", "/events", strings.Repeat("\xff", 1<<20), []string{"Content-Type", "image/png", "Ce-Type", "T"}, 413, ""},
			"PUT":                          {"PUT", "/events", `{"type":"T"}`, []string{"Content-Type", plain}, 405, ""},
			"DELETE":                       {"DELETE", "/events", ``, nil, 405, ""},
			"a path below":                 {"POST", "/events/1", `{"type":"T"}`, []string{"Content-Type", plain}, 404, ""},
			"binary: no type":              {"POST", "/events", `{}`, []string{"Ce-Specversion", "1.0", "Content-Type", plain}, 422, "type"},
			"binary: another version":      {"POST", "/events", `{}`, []string{"Ce-Specversion", "2", "Ce-Type", "T"}, 422, "specversion"},
			"binary: not JSON":             binary(`not`, 400, "", "Content-Type", plain),
			"binary: half an escape":       binary(``, 400, "", "Ce-Subject", "100%"),
			"binary: not UTF-8":            binary(``, 400, "", "Ce-Subject", "%ff"),
			"binary: not UTF-8 as it is":   binary(``, 400, "", "Ce-Ext", "\xff"),
			"binary: NUL":                  binary(``, 422, "id", "Ce-Id", "%00"),
			"binary: a time that is none":  binary(``, 422, "time", "Ce-Time", "now"),
			"binary: an id of 10 kB":       binary(``, 422, "id", "Ce-Id", huge),
			"binary: 2 MiB":                binary(strings.Repeat("x", 2<<20), 413, "", "Content-Type", "text/plain"),
			"batch: nothing":               publish(wire.Batch, ``, 400, ""),
			"batch: not JSON":              publish(wire.Batch, `[{]`, 400, ""),
			"batch: cut short":             publish(wire.Batch, `[{"type":"T"},`, 400, ""),
			"batch: more behind it":        publish(wire.Batch, `[{"type":"T"}] []`, 400, ""),
			"batch: null":                  publish(wire.Batch, `null`, 400, ""),
			"batch: one event":             publish(wire.Batch, `{"type":"T"}`, 400, ""),
			"batch: a number":              publish(wire.Batch, `17`, 400, ""),
			"batch: empty":                 publish(wire.Batch, ` [ ] `, 422, ""),
			"batch: null in it":            publish(wire.Batch, `[null]`, 400, "0"),
			"batch: a number in it":        publish(wire.Batch, `[{"type":"T"},1]`, 400, "1"),
			"batch: an array in it":        publish(wire.Batch, `[[]]`, 400, "0"),
			"batch: one without a type":    publish(wire.Batch, `[{"type":"T"},{"data":1}]`, 422, "1/type"),
			"batch: a type of wrong type":  publish(wire.Batch, `[{"type":"T"},{"type":1}]`, 400, "1/type"),
			"batch: one is too large":      publish(wire.Batch, `[{"type":"T"},{"type":"T","data":"`+strings.Repeat("x", 1<<20)+`"}]`, 413, "1"),
			"batch: millions of something": publish(wire.Batch, "[{}"+strings.Repeat(",{}", 5<<20)+"]", 413, ""),
			"batch: more events than fit":  publish(wire.Batch, `[{"type":"T"}`+strings.Repeat(`,{"type":"T"}`, wire.MaxBatchEvents)+"]", 413, ""),
			"batch: more than 16 MiB":      publish(wire.Batch, strings.Repeat(" ", 16<<20+1), 413, ""),
		},
		"fetch": {
			"a negative after":          fetch("after=-1", 422, "after"),
			"an absurd after":           fetch("after=18446744073709551616", 422, "after"),
			"an after of 21 digits":     fetch("after=000000000000000000001", 422, "after"),
			"an after of 10 kB":         fetch("after="+huge, 422, "after"),
			"a word for after":          fetch("after=__proto__", 422, "after"),
			"an after of invalid UTF-8": fetch("after=%ff", 422, "after"),
			"a fraction for after":      fetch("after=1.5", 422, "after"),
			"a limit of nothing":        fetch("limit=0", 422, "limit"),
			"a negative limit":          fetch("limit=-5", 422, "limit"),
			"an absurd limit":           fetch("limit=9223372036854775808", 422, "limit"),
			"a word for the limit":      fetch("limit=all", 422, "limit"),
			"a wait without a unit":     fetch("wait=30", 422, "wait"),
			"a negative wait":           fetch("wait=-1s", 422, "wait"),
			"a wait that is too long":   fetch("wait=61s", 422, "wait"),
			"a follow without a unit":   fetch("follow=1", 422, "follow"),
			"a follow that is too fast": fetch("follow=1ms", 422, "follow"),
			"a follow that is too slow": fetch("follow=61s", 422, "follow"),
			"a follow with a limit":     fetch("follow=1s&limit=1", 422, "limit"),
			"an absurd wait":            fetch("wait=9999999999h", 422, "wait"),
			"half an escape":            fetch("after=%zz", 400, ""),
			"half an escape of a type":  fetch("type=%", 400, ""),
			"a semicolon":               fetch("after=1;limit=1", 400, ""),
			"a stream from nowhere":     {"GET", "/events", "", []string{"Accept", "text/event-stream", "Last-Event-ID", "../x"}, 422, "Last-Event-ID"},
			"a stream after nowhere":    {"GET", "/events?after=x", "", []string{"Accept", "text/event-stream"}, 422, "after"},
		},
		"subscribers": {
			"POST":                   {"POST", "/subscribers", `{}`, []string{"Content-Type", plain}, 405, ""},
			"one of them":            {"GET", "/subscribers/good", "", nil, 404, ""},
			"GET of a replay":        {"GET", "/subscribers/good/replay", "", nil, 405, ""},
			"replay of an unknown":   replay("nobody", `{"after":0}`, 404, ""),
			"replay of __proto__":    replay("__proto__", `{"after":0}`, 404, ""),
			"replay of a path":       replay("..%2Fx", `{"after":0}`, 404, ""),
			"replay of 10 kB":        replay(huge, `{"after":0}`, 404, ""),
			"replay of invalid text": replay("%ff%00", `{"after":0}`, 404, ""),
			"no content type":        {"POST", "/subscribers/good/replay", `{"after":0}`, nil, 415, ""},
			"nothing":                replay("good", ``, 400, ""),
			"not JSON":               replay("good", `0`+`}`, 400, ""),
			"an array":               replay("good", `[0]`, 400, ""),
			"null":                   replay("good", `null`, 400, ""),
			"no after":               replay("good", `{}`, 422, "after"),
			"null for after":         replay("good", `{"after":null}`, 422, "after"),
			"an object for after":    replay("good", `{"after":{}}`, 400, "after"),
			"true for after":         replay("good", `{"after":true}`, 400, "after"),
			"a word for after":       replay("good", `{"after":"first"}`, 422, "after"),
			"nothing for after":      replay("good", `{"after":""}`, 422, "after"),
			"a negative after":       replay("good", `{"after":-1}`, 422, "after"),
			"a fraction for after":   replay("good", `{"after":0.5}`, 422, "after"),
			"an exponent for after":  replay("good", `{"after":1e3}`, 422, "after"),
			"an absurd after":        replay("good", `{"after":99999999999999999999}`, 422, "after"),
			"after the end":          replay("good", `{"after":"00000000000000999999"}`, 422, "after"),
			"2 MiB":                  replay("good", `{"after":0,"x":"`+strings.Repeat("x", 2<<20)+`"}`, 413, ""),
		},
		"other routes": {
			"no route":        {"GET", "/", "", nil, 404, ""},
			"another service": {"GET", "/posts", "", nil, 404, ""},
			"POST of healthz": {"POST", "/healthz", "", nil, 405, ""},
			"POST of readyz":  {"POST", "/readyz", "", nil, 405, ""},
			"POST of metrics": {"POST", "/metrics", "", nil, 405, ""},
			"a path of 10 kB": {"GET", "/" + huge, "", nil, 404, ""},
			"odd characters":  {"GET", "/%00%ff<script>", "", nil, 404, ""},
		},
	}
}

func TestBadInputIsRefusedAndTheNextRequestWorks(t *testing.T) {
	t.Parallel()
	b := startBus(t, "SUBSCRIBERS_FILE", subscribersFile(t, `[{"name":"good","url":"http://localhost:1/events","types":["Never"]}]`))
	stored := 0
	for route, attempts := range badInput() {
		t.Run(route, func(t *testing.T) {
			for name, a := range attempts {
				t.Run(name, func(t *testing.T) {
					r := b.send(a.method, a.path, a.body, a.header...)
					r.wantProblem(t, a.status, a.field)
					if (r.header.Get("Allow") != "") != (a.status == http.StatusMethodNotAllowed) {
						t.Errorf("Allow is %q", r.header.Get("Allow"))
					}
					stored++
					if answer := b.post("application/json", fmt.Sprintf(`{"type":"T","id":"after %s %s"}`, route, name)); int(answer.Sequence) != stored {
						t.Errorf("the next event is number %d, want %d: something was stored", answer.Sequence, stored)
						stored = int(answer.Sequence)
					}
				})
			}
		})
	}
}

func TestOddInputThatIsAllowedComesBackAsItWas(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	for _, id := range []string{"__proto__", "../x", "constructor", "1f2e3d4c", " ", "a/b?c#d", "%2e%2e", "𝔘", strings.Repeat("x", 128), "<script>", "\u2028", "\x7f"} {
		quoted, err := json.Marshal(id)
		if err != nil {
			t.Fatal(err)
		}
		answer := b.post("application/json", fmt.Sprintf(`{"type":"T","id":%s,"subject":%s,"data":{"__proto__":{"a":1},"text":"\u0000"}}`, quoted, quoted))
		if e := b.newest(); answer.ID != id || e.ID != id || e.Subject != id || e.compactData() != `{"__proto__":{"a":1},"text":"\u0000"}` {
			t.Errorf("%q came back as %+v, data %s", id, e, e.Data)
		}
	}
}

func TestBodiesUpToTheLimitAreStored(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	const member = `"specversion":"1.0","id":"%d","source":"/s","type":"T","time":"2026-11-20T15:00:00Z","data":"%s"`
	envelope := len(fmt.Sprintf(`{`+member+`,"sequence":"00000000000000000001"}`, 1, ""))
	room := web.MaxBody - envelope
	b.post("application/json", fmt.Sprintf("{"+member+"}", 1, strings.Repeat("x", room)))
	b.send("POST", "/events", fmt.Sprintf("{"+member+"}", 2, strings.Repeat("x", room+1)), "Content-Type", "application/json").
		wantProblem(t, http.StatusRequestEntityTooLarge, "")
	last := fmt.Sprintf("{"+member+"}]", 3, strings.Repeat("y", room))
	b.send("POST", "/events", "["+strings.Repeat(" ", 16<<20-1-len(last))+last, "Content-Type", wire.Batch).wantJSON(t, http.StatusOK, nil)
	lines := b.send("GET", "/events", "", "Accept", "application/x-ndjson").body
	if first, second, _ := strings.Cut(lines, "\n"); len(first) != web.MaxBody || len(second) != web.MaxBody+1 {
		t.Errorf("the lines have %d and %d bytes", len(first), len(second)-1)
	}
	b.post("application/json", `{"type":"T","data":`+strings.Repeat("[", event.MaxDepth-1)+strings.Repeat("]", event.MaxDepth-1)+`}`)
}
