package crash

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/klauspost/compress/zstd"

	"miniblog/internal/event"
)

// load is those who use the bus while it is killed again and again. What they
// are told goes to the oracle.
type load struct {
	told *told
	url  string
	http *http.Client
}

func newLoad(url string, o *told) *load {
	return &load{told: o, url: url, http: &http.Client{Transport: &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 32}}}
}

// sizeOfBatch returns how many events the batch of that name has.
func sizeOfBatch(name string) int {
	if isBulk(name) {
		return 8
	}
	return 50
}

// isBulk tells whether an event is part of a bulky batch, which the subscriber
// does not ask for.
func isBulk(id string) bool { return strings.HasPrefix(id, "bulk") }

// publish publishes events of its own until ctx ends, one a request. It sends
// each until it is told where that is stored, so that no id is left open.
func (l *load) publish(ctx context.Context, name string) {
	for i := 0; ctx.Err() == nil; i++ {
		id := fmt.Sprintf("%s-%d", name, i)
		body := fmt.Sprintf(`{"id":%q,"type":"T","subject":%q,"data":{"text":%q}}`, id, name, strings.Repeat("word ", rand.IntN(200)))
		var receipt struct {
			ID       string         `json:"id"`
			Sequence event.Sequence `json:"sequence"`
		}
		l.untilStored(ctx, "application/json", body, &receipt, func() {
			l.told.acknowledged(name, receipt.ID, receipt.Sequence)
		})
	}
}

// publishBatch publishes a batch; each of its events holds so many bytes.
func (l *load) publishBatch(ctx context.Context, name string, bytesOfEach int) {
	var events []string
	kind := "T"
	if isBulk(name) {
		kind = "Bulk"
	}
	for j := range sizeOfBatch(name) {
		events = append(events, fmt.Sprintf(`{"id":"%s/%d","type":"%s","subject":"%d","data":%q}`, name, j, kind, j%16, strings.Repeat("bulk ", bytesOfEach/5)))
	}
	var receipt struct {
		First     event.Sequence   `json:"first"`
		Sequences []event.Sequence `json:"sequences"`
	}
	l.untilStored(ctx, "application/cloudevents-batch+json", "["+strings.Join(events, ",")+"]", &receipt, func() {
		for j := range events {
			q := receipt.First + event.Sequence(j)
			if receipt.Sequences != nil {
				q = receipt.Sequences[j]
			}
			l.told.acknowledged(name, fmt.Sprintf("%s/%d", name, j), q)
		}
	})
}

// untilStored posts body until the bus says that it is stored, or ctx ends.
func (l *load) untilStored(ctx context.Context, mediaType, body string, receipt any, stored func()) {
	for ctx.Err() == nil {
		status, answer, err := l.post(ctx, mediaType, body)
		if err == nil && status == http.StatusOK {
			if err = json.Unmarshal(answer, receipt); err == nil {
				stored()
				return
			}
		}
		if err == nil && status != http.StatusServiceUnavailable {
			l.told.blame("a publisher was answered %d: %.200s", status, answer)
		}
		wait(ctx, 2*time.Millisecond) // it is away
	}
}

func (l *load) post(ctx context.Context, mediaType, body string) (int, []byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, l.url+"/events", strings.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	request.Header.Set("Content-Type", mediaType)
	response, err := l.http.Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	return response.StatusCode, answer, err
}

// wait is the pause of somebody who tries again.
func wait(ctx context.Context, pause time.Duration) {
	select {
	case <-time.After(pause):
	case <-ctx.Done():
	}
}

// read reads the log as it grows, from after an event, until ctx ends; header
// says in which form. It goes on where it was when the bus is back.
func (l *load) read(ctx context.Context, name string, after event.Sequence, header ...string) {
	for ctx.Err() == nil {
		err := l.fetch(ctx, fmt.Sprintf("after=%d&wait=5s", after), header, func(line []byte) {
			after = l.told.saw(name, line, after)
		})
		if err != nil {
			wait(ctx, 2*time.Millisecond)
		}
	}
}

// fetch hands over each whole line of one answer.
func (l *load) fetch(ctx context.Context, query string, header []string, take func([]byte)) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, l.url+"/events?"+query, nil)
	if err != nil {
		return err
	}
	request.Header.Set("Accept", "application/x-ndjson")
	for i := 0; i < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	response, err := l.http.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("answered %s", response.Status)
	}
	l.told.isLog(response.Header.Get("Event-Log"))
	body := io.Reader(response.Body)
	if response.Header.Get("Content-Encoding") == "zstd" {
		d, err := zstd.NewReader(body, zstd.WithDecoderConcurrency(1))
		if err != nil {
			return err
		}
		defer d.Close()
		body = d
	}
	stream := strings.HasPrefix(response.Header.Get("Content-Type"), "text/event-stream")
	for lines := bufio.NewReaderSize(body, 64<<10); ; {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err // half a line is none
		}
		data, isData := bytes.CutPrefix(line, []byte("data: "))
		switch {
		case !stream:
			take(line)
		case isData:
			take(data)
		}
	}
}

// subscriber takes what is pushed to it; now and then it has no time.
func (l *load) subscriber(t *testing.T) (url string) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // the bus was killed meanwhile
		}
		if rand.IntN(50) == 0 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		l.told.deliver(body)
	}))
	t.Cleanup(server.Close)
	return server.URL
}
