package main

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"miniblog/internal/bus/bustest"
	"miniblog/internal/event"
	"miniblog/internal/service"
	"miniblog/internal/service/servicetest"
	"miniblog/test/wait"
)

func start(t *testing.T, b *bustest.Bus, termsFile string) *servicetest.Service {
	t.Helper()
	return servicetest.Start(t, open, map[string]string{"EVENT_BUS_URL": b.URL, "BLOCKED_TERMS_FILE": termsFile}).AwaitReady()
}

// decide pushes the data of a CommentCreated and returns the decision.
func decide(t *testing.T, s *servicetest.Service, b *bustest.Bus, data string) event.Comment {
	t.Helper()
	before := len(b.Events())
	if a := s.Post("/events", `{"type":"CommentCreated","id":"`+event.NewID()+`","data":`+data+`}`); a.Status != http.StatusOK || a.Body != "{}\n" {
		t.Fatalf("%s: %d %s", data, a.Status, a.Body)
	}
	stored := b.Events()
	if len(stored) != before+1 || stored[before].Type != event.CommentModerated {
		t.Fatalf("%s: published %+v", data, stored[before:])
	}
	var c event.Comment
	if err := json.Unmarshal(stored[before].Data, &c); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestBlockedTermsAreFoundHoweverTheyAreWritten(t *testing.T) {
	b := bustest.New(t)
	s := start(t, b, "")
	tests := map[string]struct {
		content string
		want    event.Status
	}{
		"nothing blocked":           {"I like apples", event.Approved},
		"the term":                  {"orange", event.Rejected},
		"inside a word":             {"two oranges", event.Rejected},
		"capitals":                  {"ORANGE juice", event.Rejected},
		"mixed case":                {"oRaNgE", event.Rejected},
		"full-width letters":        {"ｏｒａｎｇｅ", event.Rejected},
		"full-width capitals":       {"ＯＲＡＮＧＥ", event.Rejected},
		"circled letters":           {"ⓞⓡⓐⓝⓖⓔ", event.Rejected},
		"mathematical letters":      {"𝐨𝐫𝐚𝐧𝐠𝐞", event.Rejected},
		"a zero-width space in it":  {"or\u200bange", event.Rejected},
		"a zero-width joiner in it": {"o\u200dr\u200cange", event.Rejected},
		"a soft hyphen in it":       {"oran\u00adge", event.Rejected},
		"a byte-order mark in it":   {"\ufefforan\ufeffge", event.Rejected},
		"a variation selector":      {"ora\ufe0fnge", event.Rejected},
		"a direction mark in it":    {"ora\u202enge", event.Rejected},
		"a filler that is not seen": {"ora\u3164nge", event.Rejected},
		"a control in it":           {"ora\u0007nge", event.Rejected},
		"a tag character in it":     {"ora\U000e0041nge", event.Rejected},
		"a line separator in it":    {"or\u2028ange", event.Rejected},
		"a paragraph separator":     {"or\u2029ange", event.Rejected},
		"an object replacement":     {"or\ufffcange", event.Rejected},
		"a carriage return in it":   {"or\range", event.Rejected},
		"a form feed in it":         {"or\fange", event.Rejected},
		"a vertical tab in it":      {"or\vange", event.Rejected},
		"a next-line control in it": {"or\u0085ange", event.Rejected},
		"shown from right to left":  {"\u202eegnaro\u202c", event.Rejected},
		"half of it overridden":     {"an o\u202eegnar", event.Rejected},
		"overridden twice":          {"\u202ee\u202dng\u202cnaro", event.Approved}, // shown as oranng e
		"an override in another":    {"\u202eegn\u202dora\u202c", event.Rejected},
		"overridden in an isolate":  {"\u2067\u202eegnaro\u2069", event.Rejected},
		"backwards, and shown so":   {"egnaro", event.Approved},
		"letters with spaces":       {"o r a n g e", event.Approved},
		"another word":              {"orchard range", event.Approved},
		"nothing that can be seen":  {"\u200b\u2060", event.Rejected},
		"only spaces":               {" \n\t", event.Rejected},
		"letters of other scripts":  {"Ein Apfel, ein 苹果, яблоко", event.Approved},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			data, _ := json.Marshal(event.Comment{ID: "c", PostID: "p", Content: test.content, Status: event.Pending})
			if got := decide(t, s, b, string(data)); got != (event.Comment{ID: "c", PostID: "p", Content: test.content, Status: test.want}) {
				t.Errorf("%q: %+v, want %s", test.content, got, test.want)
			}
		})
	}
}

func TestCommentWithoutUsableContentIsRejected(t *testing.T) {
	b := bustest.New(t)
	s := start(t, b, "")
	for name, member := range map[string]string{
		"missing": "", "null": `"content":null,`, "a number": `"content":5,`, "an object": `"content":{"a":["orange"]},`, "empty": `"content":"",`,
	} {
		t.Run(name, func(t *testing.T) {
			got := decide(t, s, b, `{"id":"c",`+member+`"postId":"p","status":"pending"}`)
			if got != (event.Comment{ID: "c", PostID: "p", Status: event.Rejected}) {
				t.Errorf("%+v", got)
			}
		})
	}
}

func TestCommentDeliveredTwiceHasOneDecision(t *testing.T) {
	b := bustest.New(t)
	one, two := start(t, b, ""), start(t, b, "")
	cause := event.New(event.NewID(), "/comments", event.CommentCreated, "p", event.Comment{ID: "c", PostID: "p", Content: "x", Status: event.Pending})
	body, _ := json.Marshal(cause)
	for _, s := range []*servicetest.Service{one, two, one} {
		s.Post("/events", string(body))
	}
	stored := b.Events()
	if len(stored) != 1 || stored[0].ID != cause.ID+"/CommentModerated" || stored[0].Subject != "p" || stored[0].Source != "/moderation" {
		t.Errorf("published %+v", stored)
	}
}

func TestOtherEventsHaveNoConsequence(t *testing.T) {
	b := bustest.New(t)
	s := start(t, b, "")
	for _, body := range []string{`{"type":"PostCreated","data":{"id":"p","title":"orange"}}`, `{"type":"CommentUpdated","data":{"id":"c","postId":"p"}}`, `{"type":"Unheard","data":[]}`} {
		if a := s.Post("/events", body); a.Status != http.StatusOK || a.Body != "{}\n" {
			t.Errorf("%s: %d %s", body, a.Status, a.Body)
		}
	}
	if n := len(b.Events()); n != 0 {
		t.Errorf("%d events", n)
	}
}

func TestAbsentBusIsA503(t *testing.T) {
	b := bustest.New(t)
	s := start(t, b, "")
	b.Stop()
	const body = `{"type":"CommentCreated","id":"e","data":{"id":"c","postId":"p","content":"x","status":"pending"}}`
	servicetest.ExpectProblem(t, s.Post("/events", body), http.StatusServiceUnavailable, "")
	b.Restart(t)
	if a := s.Post("/events", body); a.Status != http.StatusOK || len(b.Events()) != 1 {
		t.Errorf("%d, %d events", a.Status, len(b.Events()))
	}
}

func TestBadInputGetsItsStatusAndASentence(t *testing.T) {
	b := bustest.New(t)
	s := start(t, b, "")
	for name, test := range map[string]struct {
		body   string
		status int
		field  string
	}{
		"not JSON":                {"{", 400, ""},
		"an array":                {"[]", 400, ""},
		"a type that is a number": {`{"type":1}`, 400, "type"},
		"no type":                 {`{}`, 422, "type"},
		"no data":                 {`{"type":"CommentCreated"}`, 422, "data"},
		"data of null":            {`{"type":"CommentCreated","data":null}`, 422, "data"},
		"no id":                   {`{"type":"CommentCreated","data":{"postId":"p","content":"x"}}`, 422, "data"},
		"2 MiB":                   {`{"type":"` + strings.Repeat("x", 2<<20) + `"}`, 413, ""},
	} {
		t.Run(name, func(t *testing.T) {
			servicetest.ExpectProblem(t, s.Post("/events", test.body), test.status, test.field)
		})
	}
	servicetest.ExpectProblem(t, s.Do("POST", "/events", "type=x", "Content-Type", "text/plain"), 415, "")
	servicetest.ExpectProblem(t, s.Get("/events"), 405, "")
	servicetest.ExpectProblem(t, s.Get("/"), 404, "")
	if n := len(b.Events()); n != 0 {
		t.Errorf("%d events", n)
	}
}

func TestTermsComeFromAFileThatMayChange(t *testing.T) {
	b := bustest.New(t)
	file := filepath.Join(t.TempDir(), "terms")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file+".new", []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(file+".new", file); err != nil {
			t.Fatal(err)
		}
	}
	status := func(s *servicetest.Service, content string) event.Status {
		return decide(t, s, b, `{"id":"c","postId":"p","content":"`+content+`"}`).Status
	}
	write("# fruit\n\n  Durian  \r\nsour grapes\n")
	s := start(t, b, file)
	for content, want := range map[string]event.Status{"orange": event.Approved, "DURIAN": event.Rejected, "no sour grapes": event.Rejected, "grapes": event.Approved, "# fruit": event.Approved} {
		if got := status(s, content); got != want {
			t.Errorf("%q is %s, want %s", content, got, want)
		}
	}
	write("kiwi\n")
	wait.For(t, "the new terms", func() bool { return status(s, "kiwi") == event.Rejected })
	if got := status(s, "durian"); got != event.Approved {
		t.Errorf("a term that was taken out: %s", got)
	}
}

func TestTermsStayWhileTheirFileIsAway(t *testing.T) {
	file := filepath.Join(t.TempDir(), "terms")
	if err := os.WriteFile(file, []byte("kiwi"), 0o644); err != nil {
		t.Fatal(err)
	}
	terms, err := openTerms(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	terms.checked = time.Time{} // so that it looks again at once
	if got := terms.decide("A kiwi"); got != event.Rejected || !terms.troubled {
		t.Errorf("%s, noticed: %v", got, terms.troubled)
	}
}

// TestTermsStayWhileTheirFileIsBeingReplaced: a file that is truncated and then
// written is empty for a moment, and incomplete for another.
func TestTermsStayWhileTheirFileIsBeingReplaced(t *testing.T) {
	file := filepath.Join(t.TempDir(), "terms")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("kiwi\nplum\n")
	terms, err := openTerms(file)
	if err != nil {
		t.Fatal(err)
	}
	expect := func(when, content string, want event.Status) {
		t.Helper()
		terms.checked = time.Time{} // so that it looks again at once
		if got := terms.decide(content); got != want {
			t.Errorf("%s: %q is %s, want %s", when, content, got, want)
		}
	}
	for range 3 {
		write("")
		expect("while it is empty", "kiwi", event.Rejected)
	}
	write("p")
	expect("while half of it is written", "apple", event.Approved)
	write("plum\nlime\n")
	expect("when it was read once", "lime", event.Approved)
	expect("when it was read twice", "lime", event.Rejected)
	expect("when it was read twice", "kiwi", event.Approved)

	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	write("pear\nfigs\n") // of the same size
	if err := os.Chtimes(file, info.ModTime(), info.ModTime()); err != nil {
		t.Fatal(err)
	}
	expect("changed within its size and time", "apple", event.Approved)
	expect("changed within its size and time", "figs", event.Rejected)
	write("# nothing is blocked\n")
	expect("before it counts", "figs", event.Rejected)
	expect("without terms", "figs", event.Approved)
}

// FuzzTerms holds that no file of terms and no comment stops moderation, and
// that a term is found in itself.
func FuzzTerms(f *testing.F) {
	f.Add([]byte("orange\n# x\n"), "an o\u202eegnar")
	f.Add([]byte("\xff\n\u202e\n"), "\u2067\u202ea\u2069\u2069\u202c\n")
	f.Fuzz(func(t *testing.T, file []byte, comment string) {
		terms := &terms{}
		terms.take(file)
		if terms.decide(comment) == event.Approved && fold(comment) == "" {
			t.Errorf("%q is approved, and has no text", comment)
		}
		for _, term := range terms.folded {
			if strings.Contains(fold(comment), term) && terms.decide(comment) != event.Rejected {
				t.Errorf("%q is approved, and contains %q", comment, term)
			}
		}
	})
}

func TestUnreadableTermsStopTheStart(t *testing.T) {
	for name, path := range map[string]string{"missing": filepath.Join(t.TempDir(), "none"), "a folder": t.TempDir()} {
		t.Run(name, func(t *testing.T) {
			env := service.NewEnv(func(name string) (string, bool) { return path, name == "BLOCKED_TERMS_FILE" })
			_, err := open(t.Context(), env)
			if err == nil || !strings.Contains(err.Error(), "BLOCKED_TERMS_FILE="+`"`+path+`"`) || !strings.Contains(err.Error(), "name a text file") {
				t.Errorf("error %v", err)
			}
		})
	}
}

// FuzzFold holds that folding is done in one go, and that what cannot be seen
// hides nothing.
func FuzzFold(f *testing.F) {
	for _, seed := range []string{"Orange", "ｏｒａｎｇｅ", "ß ẞ ŉ ǰ", "İI ıi", "ﬀ Ǆ", "e\u0301", "\u200b\u3164", "\xff"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		once := fold(text)
		if twice := fold(once); twice != once {
			t.Errorf("%q folds to %q, and that to %q", text, once, twice)
		}
		var hidden strings.Builder
		for _, r := range "orange" {
			hidden.WriteString(string(r) + "\u200b")
		}
		if !strings.Contains(fold(text+" "+hidden.String()+" "+text), "orange") {
			t.Errorf("beside %q the term is not found", text)
		}
	})
}
