package push

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"

	"miniblog/internal/wire"
)

// Reply is the body of a subscriber's answer that is an event, or several: what
// the subscriber does about the event that it was sent.
type Reply struct {
	MediaType string // application/cloudevents+json or application/cloudevents-batch+json
	Body      []byte
	Types     []string // that this subscriber may answer with
}

// BadReply is the error of Config.Publish for a reply that no repetition will
// make good. It is a sentence.
type BadReply string

// Error implements error.
func (b BadReply) Error() string { return string(b) }

// accept is what the push says it takes as a reply.
const accept = wire.Event + ", " + wire.Batch

// replyType returns the media type of a reply, "" if the answer is none.
func replyType(response *http.Response) string {
	mediaType, _, _ := mime.ParseMediaType(response.Header.Get("Content-Type"))
	if mediaType != wire.Event && mediaType != wire.Batch {
		return ""
	}
	return mediaType
}

// takeReply reads and stores a reply. The event that it answers is delivered
// only then: after a crash before that it is delivered again, and the bus stores
// an id once. Reading is bounded by reading's deadline, storing is not: whoever
// is slow there is not the subscriber.
func (e *endpoint) takeReply(reading, storing context.Context, response *http.Response, mediaType string) outcome {
	body, err := e.readReply(reading, response, mediaType)
	stored := true
	if err == nil && len(body) > 0 {
		err = e.publish(storing, Reply{mediaType, body, e.replies})
		stored = err == nil
	}
	o := outcome{verdict: delivered, status: response.StatusCode, answer: beginning(body)}
	switch _, bad := errors.AsType[BadReply](err); {
	case bad:
		o.verdict, o.answer = badReply, "its reply cannot be stored: "+err.Error()
	case !stored:
		o.verdict, o.answer = notStored, "its reply could not be stored yet: "+err.Error()
	case err != nil: // half an answer is none
		return outcome{verdict: failure(err), answer: reason(err, e.timeout)}
	}
	return o
}

// readReply reads the body of a reply, which is bounded as that of POST /events. Of one subscriber one
// large body is in memory at a time.
func (e *endpoint) readReply(ctx context.Context, response *http.Response, mediaType string) ([]byte, error) {
	limit := int64(wire.MaxEvent)
	if mediaType == wire.Batch {
		limit = wire.MaxBatch
	}
	if response.ContentLength > limit {
		return nil, tooLarge(limit)
	}
	if limit > wire.MaxEvent && (response.ContentLength < 0 || response.ContentLength > wire.MaxEvent) {
		select {
		case e.largeReply <- struct{}{}:
			defer func() { <-e.largeReply }()
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, limit+1))
	if err == nil && int64(len(body)) > limit {
		err = tooLarge(limit)
	}
	return body, err
}

func tooLarge(limit int64) error {
	return BadReply(fmt.Sprintf("it has more than %d bytes", limit))
}
