package api

import (
	"bufio"
	"io"
	"net/http"
	"strings"
	"testing"

	"miniblog/internal/event"
)

// stream opens a stream of server-sent events; it ends with the test.
func (b *runningBus) stream(query string, header ...string) (*http.Response, *bufio.Reader) {
	b.t.Helper()
	request, err := http.NewRequestWithContext(b.t.Context(), "GET", b.url+"/events?"+query, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	request.Header.Set("Accept", "text/event-stream")
	for i := 0; i < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	response, err := b.client.Do(request)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { response.Body.Close() })
	if response.StatusCode != http.StatusOK || response.Header.Get("Content-Type") != "text/event-stream" {
		b.t.Fatalf("answered %s %v", response.Status, response.Header)
	}
	return response, bufio.NewReader(response.Body)
}

func ranksOf(events []stored) (ranks []event.Sequence) {
	for _, e := range events {
		rank, _ := event.ParseSequence(e.Sequence)
		ranks = append(ranks, rank)
	}
	return ranks
}

func TestStreamGivesHistoryAndThenWhatComes(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	response, empty := b.stream("")
	if response.Header.Get("Event-Sequence-Last") != "00000000000000000000" || response.Header.Get("X-Accel-Buffering") != "no" {
		t.Errorf("the headers are %v", response.Header)
	}
	b.fill("A", 3)
	b.fill("B", 1)
	wantRanks(t, ranksOf(messages(t, empty, 4)), 1, 2, 3, 4)

	_, all := b.stream("")
	_, some := b.stream("after=1&type=A")
	_, resumed := b.stream("after=1", "Last-Event-ID", "00000000000000000003")
	wantRanks(t, ranksOf(messages(t, all, 4)), 1, 2, 3, 4)
	wantRanks(t, ranksOf(messages(t, some, 2)), 2, 3)
	wantRanks(t, ranksOf(messages(t, resumed, 1)), 4)
	b.fill("B", 1)
	b.fill("A", 1)
	wantRanks(t, ranksOf(messages(t, all, 2)), 5, 6)
	wantRanks(t, ranksOf(messages(t, some, 1)), 6)
	wantRanks(t, ranksOf(messages(t, resumed, 2)), 5, 6)
	wantRanks(t, ranksOf(messages(t, empty, 2)), 5, 6)

	b.client.CloseIdleConnections()
	b.kill()
	if rest, err := io.ReadAll(all); err != nil { // a stop ends a stream, and cuts no event off
		t.Errorf("the stream was cut off: %v after %q", err, rest)
	}
}

// A white space that JSON allows and that ends a line of a stream.
func TestCarriageReturnInAnEventDoesNotBreakTheStream(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	b.post("application/json", "{\r\n\"type\":\"T\",\r\"x\":{\r\n\"y\"\r:1},\n\"data\":[1,\r\n2,\r3]}")
	r := b.send("GET", "/events?limit=1", "", "Accept", "text/event-stream")
	if strings.ContainsAny(strings.TrimRight(r.body, "\n"), "\r") || strings.Count(r.body, "\n") != 3 {
		t.Errorf("the stream is %q", r.body)
	}
	wantRanks(t, r.ranks(t), 1)
}

// A stream that resumed beyond the end of the log used to wait in silence, and
// then to pass over events.
func TestStreamBeyondTheEndIsRefusedAtOnce(t *testing.T) {
	t.Parallel()
	b := startBus(t)
	b.fill("A", 2)
	b.send("GET", "/events?after=3", "", "Accept", "text/event-stream").wantProblem(t, http.StatusConflict, "")
	b.send("GET", "/events", "", "Accept", "text/event-stream", "Last-Event-ID", "00000000000000000003").wantProblem(t, http.StatusConflict, "")
	_, atEnd := b.stream("after=2")
	b.fill("A", 1)
	wantRanks(t, ranksOf(messages(t, atEnd, 1)), 3)
}
