package api

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"miniblog/event-bus/push"
	"miniblog/internal/wire"
	"miniblog/test/wait"
)

// A reaction needs no address of the bus: what it answers a push with is stored.
func TestSubscribersRepliesAreStored(t *testing.T) {
	t.Parallel()
	in := receive(t, func(w http.ResponseWriter, e stored) {
		w.Header().Set("Content-Type", wire.Event)
		switch e.Type {
		case "Asked":
			fmt.Fprintf(w, `{"type":"Answered","id":%q,"source":"/in","subject":"s","data":{"to":%q}}`, e.ID+"/Answered", e.ID)
		case "AskedTwice":
			w.Header().Set("Content-Type", wire.Batch)
			fmt.Fprintf(w, `[{"type":"Answered","id":"one"},{"type":"Answered","id":"two"}]`)
		case "Forbidden":
			io.WriteString(w, `{"type":"Asked"}`)
		case "Nonsense":
			io.WriteString(w, `{"type":`)
		case "Untyped":
			io.WriteString(w, `{"data":1}`)
		}
	})
	b := startBus(t, "SUBSCRIBERS_FILE", subscribersFile(t, fmt.Sprintf(
		`[{"name":"in","url":%q,"types":["Asked","AskedTwice","Forbidden","Nonsense","Untyped"],"replies":["Answered"]}]`, in.URL)))
	for _, typ := range []string{"Asked", "Forbidden", "Nonsense", "Untyped", "AskedTwice"} {
		b.post("application/json", `{"type":"`+typ+`","id":"`+typ+`"}`)
	}
	type subscriber struct {
		Lag         int
		DeadLetters []struct{ ID, Answer string }
	}
	var list []subscriber
	wait.For(t, "all to be delivered", func() bool {
		list = nil
		b.send("GET", "/subscribers", "").wantJSON(t, http.StatusOK, &list)
		return list[0].Lag == 0
	})
	answered := ""
	for _, e := range b.events() {
		if e.Type == "Answered" {
			answered += e.ID + " "
		}
	}
	if answered != "Asked/Answered one two " {
		t.Errorf("stored are the answers %s", answered)
	}
	got := ""
	for _, letter := range list[0].DeadLetters {
		got += letter.ID + ": " + letter.Answer + "\n"
	}
	for _, want := range []string{
		`Forbidden: its reply cannot be stored: the subscriber may not answer with "Asked": its entry has the replies ["Answered"]`,
		`Nonsense: its reply cannot be stored: `, `Untyped: its reply cannot be stored: type: The type is missing`,
	} {
		if !strings.Contains(got, want) || len(list[0].DeadLetters) != 3 {
			t.Errorf("the dead letters are\n%swithout %s", got, want)
		}
	}
}

// FuzzReply holds that a reply is either lines of the log of types that it may
// have, or bad for a reason that can be told.
func FuzzReply(f *testing.F) {
	seedBodies(f, wire.Event)
	f.Add([]byte(`{"type":"R","data":{"a":[1]}}`))
	f.Add([]byte(`[{"type":"R"},{"type":"R","id":"x"}]`))
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, mediaType := range []string{wire.Event, wire.Batch} {
			lines, err := readReply(push.Reply{MediaType: mediaType, Body: body, Types: []string{"R"}})
			if err != nil {
				var bad push.BadReply
				if err := badReply(err); !errors.As(err, &bad) || bad == "" {
					t.Errorf("refused with %v", err)
				}
				continue
			}
			for _, line := range lines {
				wantLine(t, line)
				if string(line.Type()) != "R" {
					t.Errorf("a reply of the type %q is taken", line.Type())
				}
			}
		}
	})
}
