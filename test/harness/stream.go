package harness

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"miniblog/test/openapi"
)

// StreamEvent is one server-sent event.
type StreamEvent struct{ ID, Name, Data string }

// Stream is an open stream of server-sent events. A goroutine reads it until
// it ends or the test does.
type Stream struct {
	mu     sync.Mutex
	events []StreamEvent
	text   strings.Builder // everything, as it came
	check  func(StreamEvent)
	ended  chan struct{}
	err    error // why it ended, nil if it ended as it should; once ended is closed
}

// Follow opens a stream and returns once the server has answered.
func Follow(t testing.TB, url string) *Stream {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Accept", "text/event-stream")
	response, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(request)
	if err != nil {
		t.Fatal(err)
	}
	if response.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(response.Body)
		t.Fatalf("%s answered %d %s", url, response.StatusCode, body)
	}
	answer := openapi.Answer{Status: response.StatusCode, Header: response.Header}
	checkAnswer(request, answer)
	s := &Stream{ended: make(chan struct{}), check: func(e StreamEvent) { checkStreamEvent(request, answer, e) }}
	go s.read(response.Body)
	t.Cleanup(func() {
		cancel()
		response.Body.Close()
		<-s.ended
	})
	return s
}

func (s *Stream) read(body io.Reader) {
	defer close(s.ended)
	lines := bufio.NewReader(body)
	var e StreamEvent
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			if !errors.Is(err, io.EOF) {
				s.err = err
			}
			return
		}
		s.mu.Lock()
		s.text.WriteString(line)
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		switch name {
		case "id":
			e.ID = value
		case "event":
			e.Name = value
		case "data":
			e.Data = value
		case "":
			if value == "" && e != (StreamEvent{}) {
				s.check(e)
				s.events = append(s.events, e)
				e = StreamEvent{}
			}
		}
		s.mu.Unlock()
	}
}

// Events returns what came so far.
func (s *Stream) Events() []StreamEvent {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]StreamEvent(nil), s.events...)
}

// Text returns every byte that came so far.
func (s *Stream) Text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// Ended is closed when the stream has ended; Err says why.
func (s *Stream) Ended() <-chan struct{} { return s.ended }

// Err returns nil if the stream ended as it should, and else how it was cut
// off. Ended must be closed.
func (s *Stream) Err() error { return s.err }
