package push

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"miniblog/internal/event"
)

func ignore(DeadLetter) {}

func TestDeadLetterThatACrashToreIsPassedOver(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := newFileStore(dir, "a")
	if err := s.Save(Position{Log: "x", Cursor: 7}); err != nil {
		t.Fatal(err)
	}
	add := func(q event.Sequence) {
		t.Helper()
		if err := s.Add(DeadLetter{Sequence: q, ID: fmt.Sprint("id", q), Time: time.Now(), Answer: "no", Event: []byte(`{"a":1}`)}); err != nil {
			t.Fatal(err)
		}
	}
	listed := func() (list []event.Sequence) {
		t.Helper()
		again := newFileStore(dir, "a")
		p, found, err := again.Load(func(letter DeadLetter) { list = append(list, letter.Sequence) })
		if err != nil || !found || p.Cursor != 7 {
			t.Fatalf("got %+v, %v, %v", p, found, err)
		}
		return list
	}
	add(1)
	add(2)
	whole, err := os.ReadFile(s.path(".dead.ndjson"))
	if err != nil {
		t.Fatal(err)
	}
	for end := len(whole) - 1; end > len(whole)/2; end-- { // at every byte of the second
		if err := os.WriteFile(s.path(".dead.ndjson"), whole[:end], 0o644); err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprintf("%d", listed()); got != "[1]" {
			t.Fatalf("cut at %d the list is %s", end, got)
		}
	}
	add(3) // behind half a line
	if got := fmt.Sprintf("%d", listed()); got != "[1 3]" {
		t.Errorf("the list is %s", got)
	}
}

func TestNewestDeadLettersAreListed(t *testing.T) {
	t.Parallel()
	s := newFileStore(t.TempDir(), "a")
	if err := s.Save(Position{}); err != nil {
		t.Fatal(err)
	}
	var file strings.Builder
	for q := range 3 * listed {
		fmt.Fprintf(&file, "\n{\"sequence\":\"%d\",\"id\":\"x\",\"time\":\"2026-11-20T15:00:00Z\",\"attempts\":1,\"answer\":\"\",\"event\":{\"data\":%q}}\n", q+1, strings.Repeat("x", 1000))
	}
	if err := os.WriteFile(s.path(".dead.ndjson"), []byte(file.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	var l letters
	if _, _, err := s.Load(l.add); err != nil {
		t.Fatal(err)
	}
	if len(l.heads) != 3*listed || len(l.newest) != listed {
		t.Fatalf("%d of %d are listed, want %d", len(l.newest), len(l.heads), listed)
	}
	for i, letter := range l.newest {
		if want := event.Sequence(2*listed + 1 + i); letter.Sequence != want {
			t.Fatalf("number %d of the list is event %d, want %d", i, letter.Sequence, want)
		}
		if letter.Event != nil {
			t.Fatalf("the list keeps event %d in memory", letter.Sequence)
		}
	}
}

// A dead letter whose event nested as deep as JSON allows could not be encoded,
// was tried again for ever, and the cursor stood still.
func TestDeadLetterHoldsTheBytesThatWereStoredHoweverDeep(t *testing.T) {
	t.Parallel()
	log, dir := openLog(t, t.TempDir()), t.TempDir()
	deep := strings.Repeat("[", 9999) + strings.Repeat("]", 9999)
	e := event.New("deep", "/test", "T", "a", 0)
	e.Extensions, e.Data = []byte(`{"note":",\"event\":{}","event":1.50}`), []byte(deep)
	line, err := event.NewLine(&e)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := log.Append(t.Context(), []event.Line{line}); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusUnprocessableEntity)
		io.WriteString(w, `no,"event":`)
	}))
	t.Cleanup(server.Close)
	p := run(t, log, dir, Subscriber{Name: "all", URL: server.URL})
	p.wantCursor("all", 1)
	p.stop()

	text, err := os.ReadFile(filepath.Join(dir, "all.dead.ndjson"))
	if err != nil {
		t.Fatal(err)
	}
	letter, ok := parseDeadLetter(bytes.TrimLeft(text, "\n"))
	if !ok || letter.Sequence != 1 || letter.ID != "deep" || letter.Answer != `no,"event":` || !bytes.Equal(letter.Event, line.Append(nil, 1)) {
		t.Errorf("it is kept as %.400s", text)
	}
	s := run(t, log, dir, Subscriber{Name: "all", URL: server.URL}).status("all")
	if s.DeadLetterCount != 1 || len(s.DeadLetters) != 1 || s.DeadLetters[0].Sequence != 1 {
		t.Errorf("after a restart the subscriber is %+v", s)
	}
}
