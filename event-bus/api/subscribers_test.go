package api

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"miniblog/test/wait"
)

// subscribersFile writes a subscribers file and returns its name.
func subscribersFile(t testing.TB, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "subscribers.json")
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}

// inbox is a subscriber that keeps what it is sent; answer decides what it
// says, nil is 200.
type inbox struct {
	*httptest.Server
	mu     sync.Mutex
	events []stored
}

func receive(t testing.TB, answer func(w http.ResponseWriter, e stored)) *inbox {
	t.Helper()
	in := &inbox{}
	in.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		var e stored
		if err == nil {
			err = json.Unmarshal(body, &e)
		}
		if err != nil || r.Method != "POST" || r.Header.Get("Content-Type") != "application/json" {
			t.Errorf("got %s %v %s, %v", r.Method, r.Header, body, err)
		}
		in.mu.Lock()
		in.events = append(in.events, e)
		in.mu.Unlock()
		if answer != nil {
			answer(w, e)
		}
	}))
	t.Cleanup(in.Close)
	return in
}

func (in *inbox) types() string {
	in.mu.Lock()
	defer in.mu.Unlock()
	return typesOf(in.events)
}

func TestEventsArePushedAndFollowedUp(t *testing.T) {
	t.Parallel()
	in := receive(t, func(w http.ResponseWriter, e stored) {
		if e.Type == "Bad" {
			w.WriteHeader(http.StatusUnprocessableEntity)
			io.WriteString(w, "no, thank you")
		}
	})
	b := startBus(t, "SUBSCRIBERS_FILE", subscribersFile(t, fmt.Sprintf(
		`[{"name":"some","url":%q,"types":["Good","Bad"],"timeout":"5s"},{"name":"later","url":"http://localhost:1/events","types":["Never"],"ordered":false,"from":"now"}]`, in.URL+"/events")))
	list := func() (subscribers []map[string]any) {
		b.send("GET", "/subscribers", "").wantJSON(t, http.StatusOK, &subscribers)
		return subscribers
	}
	want := func(i int, cursor string) {
		t.Helper()
		wait.For(t, "the cursor "+cursor, func() bool { return list()[i]["cursor"] == cursor })
	}
	for _, typ := range []string{"Good", "Other", "Bad", "Good"} {
		b.post("application/json", `{"type":"`+typ+`","data":{"a":1}}`)
	}
	want(0, "00000000000000000004")
	want(1, "00000000000000000004")
	if got := in.types(); got != "Good Bad Good" {
		t.Errorf("the subscriber got %s", got)
	}
	if e := in.events[0]; e.Sequence != "00000000000000000001" || e.compactData() != `{"a":1}` || e.SpecVersion != "1.0" || e.Source != "/event-bus" {
		t.Errorf("the subscriber got %+v", e)
	}

	t.Run("and listed", func(t *testing.T) {
		all := list()
		if len(all) != 2 {
			t.Fatalf("listed are %v", all)
		}
		letters, _ := all[0]["deadLetters"].([]any)
		if len(letters) != 1 {
			t.Fatalf("the dead letters are %v", all[0]["deadLetters"])
		}
		letter := letters[0].(map[string]any)
		if letter["sequence"] != "00000000000000000003" || letter["status"] != 422.0 || letter["answer"] != "no, thank you" || letter["attempts"] != 1.0 || letter["reason"] != "422" || letter["id"] == "" || letter["event"] != nil {
			t.Errorf("the dead letter is %v", letter)
		}
		delete(all[0], "deadLetters")
		delete(all[0], "owner") // of a cluster
		delete(all[1], "owner")
		for i, want := range []string{
			`{"cursor":"00000000000000000004","deadLetterCount":1,"deadLetterReasons":{"422":1},"lag":0,"lastError":"event 3: 422 no, thank you","name":"some","ordered":true,"state":"up","types":["Good","Bad"],"url":"` + in.URL + `/events"}`,
			`{"cursor":"00000000000000000004","deadLetterCount":0,"deadLetters":[],"lag":0,"name":"later","ordered":false,"state":"up","types":["Never"],"url":"http://localhost:1/events"}`,
		} {
			if got, _ := json.Marshal(all[i]); string(got) != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		}
	})
	t.Run("and replayed", func(t *testing.T) {
		for body, want := range map[string]string{
			`{"after":0}`:                      "Good Bad Good Good Bad Good",
			`{"after":"00000000000000000003"}`: "Good Bad Good Good Bad Good Good",
			`{"after":"3"}`:                    "Good Bad Good Good Bad Good Good",
		} {
			in.mu.Lock()
			in.events = in.events[:3]
			in.mu.Unlock()
			if body != `{"after":0}` {
				want = "Good Bad Good Good"
			}
			var status map[string]any
			b.send("POST", "/subscribers/some/replay", body, "Content-Type", "application/json").wantJSON(t, http.StatusOK, &status)
			if status["name"] != "some" || status["cursor"] == "00000000000000000004" {
				t.Errorf("answered %v", status)
			}
			wait.For(t, "the replay "+want, func() bool { return in.types() == want })
			wait.For(t, "its end", func() bool { return list()[0]["cursor"] == "00000000000000000004" })
		}
	})
	t.Run("and counted", func(t *testing.T) {
		if text := b.send("GET", "/metrics", "").body; !strings.Contains(text, `event_bus_push_attempts_total{outcome="rejected",subscriber="some"}`) {
			t.Error("the attempts are not in the metrics")
		}
	})
}

func TestPublisherIsAnsweredBeforeAnyDelivery(t *testing.T) {
	t.Parallel()
	leave := make(chan struct{})
	arrived := make(chan struct{}, 1)
	in := receive(t, func(http.ResponseWriter, stored) { arrived <- struct{}{}; <-leave })
	defer close(leave)
	b := startBus(t, "SUBSCRIBERS_FILE", subscribersFile(t, fmt.Sprintf(`[{"name":"slow","url":%q}]`, in.URL)))
	b.post("application/json", `{"type":"First"}`)
	<-arrived // and is not answered
	b.post("application/json", `{"type":"Second"}`)
	if types := typesOf(b.events()); types != "First Second" {
		t.Errorf("stored are %s", types)
	}
}
