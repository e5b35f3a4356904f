package api

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"miniblog/test/wait"
)

func TestDeadLettersAreListedAndDeliveredAgain(t *testing.T) {
	t.Parallel()
	var cured atomic.Bool
	in := receive(t, func(w http.ResponseWriter, e stored) {
		if e.Type == "Bad" && !cured.Load() {
			w.WriteHeader(http.StatusUnprocessableEntity)
			io.WriteString(w, "no, thank you")
		}
	})
	b := startBus(t, "SUBSCRIBERS_FILE", subscribersFile(t, fmt.Sprintf(`[{"name":"some","url":%q}]`, in.URL+"/events")))
	for _, typ := range []string{"Bad", "Good", "Bad", "Bad"} {
		b.post("application/json", `{"type":"`+typ+`","subject":"s"}`)
	}
	var list []map[string]any
	wait.For(t, "the dead letters", func() bool {
		list = nil
		b.send("GET", "/subscribers/some/dead-letters", "").wantJSON(t, http.StatusOK, &list)
		return len(list) == 3
	})
	if e, _ := list[0]["event"].(map[string]any); list[0]["reason"] != "422" || list[0]["answer"] != "no, thank you" || e["type"] != "Bad" || e["sequence"] != "00000000000000000001" {
		t.Errorf("the first is %v", list[0])
	}
	post := func(path, body string) reply {
		return b.send("POST", "/subscribers/"+path, body, "Content-Type", "application/json")
	}

	t.Run("page by page", func(t *testing.T) {
		var page []map[string]any
		r := b.send("GET", "/subscribers/some/dead-letters?limit=2&reason=422", "")
		r.wantJSON(t, http.StatusOK, &page)
		next, _, _ := strings.Cut(strings.TrimPrefix(r.header.Get("Link"), "<"), ">")
		if len(page) != 2 || next == "" {
			t.Fatalf("the first page is %v, and the next at %q", page, next)
		}
		r = b.send("GET", next, "")
		r.wantJSON(t, http.StatusOK, &page)
		if len(page) != 1 || page[0]["sequence"] != "00000000000000000004" || r.header.Get("Link") != "" {
			t.Errorf("the last page is %v, and the next at %q", page, r.header.Get("Link"))
		}
	})
	t.Run("and refused with a sentence", func(t *testing.T) {
		for _, test := range []struct {
			method, path, body string
			status             int
		}{
			{"GET", "nobody/dead-letters", "", 404},
			{"GET", "nobody/attempts", "", 404},
			{"GET", "some/dead-letters?limit=0", "", 422},
			{"GET", "some/dead-letters?after=x", "", 422},
			{"POST", "nobody/dead-letters/redeliver", `{"from":1}`, 404},
			{"POST", "some/dead-letters/redeliver", `{}`, 422},
			{"POST", "some/dead-letters/redeliver", `{"sequence":0}`, 422},
			{"POST", "some/dead-letters/redeliver", `{"sequence":-1}`, 422},
			{"POST", "some/dead-letters/redeliver", `{"from":"x"}`, 422},
			{"POST", "some/dead-letters/redeliver", `{"sequence":1,"reason":"422"}`, 422},
			{"POST", "some/dead-letters/redeliver", `{"sequence":2}`, 404},
			{"POST", "some/dead-letters/redeliver", `{"sequence":[]}`, 400},
			{"POST", "some/replay", `{"after":0,"dryRun":1}`, 400},
		} {
			r := b.send(test.method, "/subscribers/"+test.path, test.body, "Content-Type", "application/json")
			if r.status != test.status || r.header.Get("Content-Type") != "application/problem+json" {
				t.Errorf("%s %s %s gives %d %s", test.method, test.path, test.body, r.status, r.body)
			}
		}
	})
	t.Run("and what was sent and answered", func(t *testing.T) {
		var attempts []map[string]any
		b.send("GET", "/subscribers/some/attempts", "").wantJSON(t, http.StatusOK, &attempts)
		if len(attempts) != 4 || attempts[0]["sequence"] != "00000000000000000004" || attempts[0]["status"] != 422.0 || attempts[0]["answer"] != "no, thank you" {
			t.Errorf("the attempts are %v", attempts)
		}
	})
	cured.Store(true)
	for _, step := range []struct{ what, path, body, want string }{
		{"a dry run changes nothing", "some/dead-letters/redeliver", `{"reason":"422","dryRun":true}`, `{"dryRun":true,"matched":3,"first":"00000000000000000001","last":"00000000000000000004","delivered":0,"givenUp":0,"waiting":0,"state":"up"}`},
		{"one", "some/dead-letters/redeliver", `{"sequence":"00000000000000000003"}`, `{"dryRun":false,"matched":1,"first":"00000000000000000003","last":"00000000000000000003","delivered":1,"givenUp":0,"waiting":0,"state":"up"}`},
		{"of a reason, from there on", "some/dead-letters/redeliver", `{"reason":"422","from":2}`, `{"dryRun":false,"matched":1,"first":"00000000000000000004","last":"00000000000000000004","delivered":1,"givenUp":0,"waiting":0,"state":"up"}`},
		{"all there are", "some/dead-letters/redeliver", `{"from":0}`, `{"dryRun":false,"matched":1,"first":"00000000000000000001","last":"00000000000000000001","delivered":1,"givenUp":0,"waiting":0,"state":"up"}`},
		{"none is left", "some/dead-letters/redeliver", `{"from":0}`, `{"dryRun":false,"matched":0,"delivered":0,"givenUp":0,"waiting":0,"state":"up"}`},
	} {
		if r := post(step.path, step.body); r.status != http.StatusOK || strings.TrimSpace(r.body) != step.want {
			t.Errorf("%s: got %d %s", step.what, r.status, r.body)
		}
	}
	if r := post("some/replay", `{"after":1,"dryRun":true}`); !strings.Contains(r.body, `"cursor":"00000000000000000001","lag":3`) {
		t.Errorf("a replay that is a dry run gives %s", r.body)
	}
	if got := in.types(); got != "Bad Good Bad Bad Bad Bad Bad" {
		t.Errorf("the subscriber got %s", got)
	}
}

func TestPagesOfOtherSitesMayOnlyRead(t *testing.T) {
	t.Parallel()
	in := receive(t, nil)
	b := startBus(t, "SUBSCRIBERS_FILE", subscribersFile(t, fmt.Sprintf(`[{"name":"some","url":%q}]`, in.URL)), "ALLOWED_ORIGINS", "http://localhost:3000")
	for _, c := range []struct {
		who     string
		headers []string
		allowed bool
	}{
		{"a program", nil, true},
		{"the bus's own page", []string{"Origin", b.url, "Sec-Fetch-Site", "same-origin"}, true},
		{"the bus's own page in an old browser", []string{"Origin", b.url}, true},
		{"the address bar", []string{"Sec-Fetch-Site", "none"}, true},
		{"an allowed origin", []string{"Origin", "http://localhost:3000", "Sec-Fetch-Site", "same-site"}, true},
		{"another site", []string{"Origin", "http://evil.example", "Sec-Fetch-Site", "cross-site"}, false},
		{"another site in an old browser", []string{"Origin", "http://evil.example"}, false},
		{"another port of this host", []string{"Origin", "http://localhost:1234", "Sec-Fetch-Site", "same-site"}, false},
		{"a sandbox", []string{"Origin", "null", "Sec-Fetch-Site", "cross-site"}, false},
	} {
		want := http.StatusForbidden
		if c.allowed {
			want = http.StatusOK
		}
		headers := append([]string{"Content-Type", "application/json"}, c.headers...)
		for path, body := range map[string]string{
			"/events":                  `{"type":"T"}`,
			"/subscribers/some/replay": `{"after":0}`,
			"/subscribers/some/dead-letters/redeliver": `{"from":0}`,
		} {
			if r := b.send("POST", path, body, headers...); r.status != want || !c.allowed && r.header.Get("Content-Type") != "application/problem+json" {
				t.Errorf("%s: POST %s gives %d %s", c.who, path, r.status, r.body)
			}
		}
		if r := b.send("GET", "/events", "", headers...); r.status != http.StatusOK {
			t.Errorf("%s: reading gives %d", c.who, r.status)
		}
	}
}
