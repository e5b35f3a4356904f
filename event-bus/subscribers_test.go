package main

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
	"time"
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
		waitFor(t, "the cursor "+cursor, func() bool { return list()[i]["cursor"] == cursor })
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
		if letter["sequence"] != "00000000000000000003" || letter["status"] != 422.0 || letter["answer"] != "no, thank you" || letter["attempts"] != 1.0 || letter["id"] == "" || letter["event"] != nil {
			t.Errorf("the dead letter is %v", letter)
		}
		delete(all[0], "deadLetters")
		for i, want := range []string{
			`{"cursor":"00000000000000000004","deadLetterCount":1,"lag":0,"lastError":"event 3: 422 no, thank you","name":"some","ordered":true,"state":"up","types":["Good","Bad"],"url":"` + in.URL + `/events"}`,
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
			waitFor(t, "the replay "+want, func() bool { return in.types() == want })
			waitFor(t, "its end", func() bool { return list()[0]["cursor"] == "00000000000000000004" })
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

func TestStartSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	damaged := t.TempDir()
	b := startBusOn(t, damaged)
	b.fill("A", 10)
	b.fill("B", 10)
	b.stop()
	damage(t, damaged, 0.2)
	locked := startBus(t)
	for name, test := range map[string]struct {
		env  []string
		want string
	}{
		"a subscribers file that is not there": {[]string{"SUBSCRIBERS_FILE", "/nowhere/file"}, `SUBSCRIBERS_FILE="/nowhere/file": open /nowhere/file: no such file`},
		"a subscribers file that is wrong":     {[]string{"SUBSCRIBERS_FILE", subscribersFile(t, `[{"name":"A"}]`)}, `entry 1: the name "A" must be lower-case letters`},
		"origins that are none":                {[]string{"ALLOWED_ORIGINS", "posts.com"}, `ALLOWED_ORIGINS="posts.com": each origin must be a scheme and a host`},
		"a folder that cannot be":              {[]string{"DATA_DIR", "/proc/none"}, `DATA_DIR="/proc/none": cannot make this folder`},
		"a damaged log":                        {[]string{"DATA_DIR", damaged}, `opening the log in ` + damaged + `: 00000000000000000001.active.zst is damaged at byte 0, where event 1 should be`},
		"a log that is open elsewhere":         {[]string{"DATA_DIR", locked.dir}, `is locked: another event-bus has this log open; stop it first`},
		"an address that is taken":             {[]string{"ADDR", locked.addr}, locked.addr + ` is in use by another program: stop that one, or set ADDR to another address`},
	} {
		t.Run(name, func(t *testing.T) {
			err := runOnce(t, test.env...)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %s", err, test.want)
			}
		})
	}
	t.Run("a cursor that is not one", func(t *testing.T) {
		dir := t.TempDir()
		if err := os.MkdirAll(filepath.Join(dir, "subscribers"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "subscribers", "x.json"), []byte("?"), 0o644); err != nil {
			t.Fatal(err)
		}
		env := []string{"DATA_DIR", dir, "SUBSCRIBERS_FILE", subscribersFile(t, `[{"name":"x","url":"http://localhost:1"}]`)}
		for range 2 { // it gives the log back each time
			if err := runOnce(t, env...); err == nil || !strings.Contains(err.Error(), "to deliver all events again") {
				t.Errorf("got %v", err)
			}
		}
	})
}

// Of a stop under load each client knows what became of its events: what was
// answered is there, and what was not answered is not.
func TestStopUnderLoadIsFairToEveryPublisher(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	type publication struct {
		ids    []string
		stored bool
		why    string
	}
	publications := make(chan publication, 1<<16)
	var publishers sync.WaitGroup
	for p := range 12 {
		client := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{DisableKeepAlives: p%3 == 0}}
		t.Cleanup(client.CloseIdleConnections)
		publishers.Go(func() {
			for i := 0; ; i++ {
				id := fmt.Sprintf("%d-%d", p, i)
				ids, contentType, body := []string{id}, "application/json", `{"type":"T","id":"`+id+`"}`
				if p%2 == 0 {
					ids, contentType, body = append(ids, id+"b"), batched, `[`+body+`,{"type":"T","id":"`+id+`b"}]`
				}
				response, err := client.Post(b.url+"/events", contentType, strings.NewReader(body))
				if err == nil {
					_, err = io.ReadAll(response.Body)
					response.Body.Close()
				}
				stored := err == nil && response.StatusCode == http.StatusOK
				publications <- publication{ids, stored, fmt.Sprint(err)}
				if !stored {
					return
				}
			}
		})
	}
	waitFor(t, "load", func() bool { return len(publications) > 100 })
	b.stop()
	publishers.Wait()
	close(publications)
	there := map[string]int{}
	for _, e := range b.restart().events() {
		there[e.ID]++
	}
	for p := range publications {
		for _, id := range p.ids {
			if p.stored && there[id] != 1 || !p.stored && there[id] != 0 {
				t.Errorf("event %s was stored %d times and its publisher told %v: %s", id, there[id], p.stored, p.why)
			}
		}
	}
}
