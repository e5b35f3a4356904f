package push

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"miniblog/internal/trace"
)

// verdict is what an attempt to deliver an event came to.
type verdict int

const (
	delivered   verdict = iota
	unreachable         // no connection: the subscriber is down
	silent              // a connection, and no answer in time: this event, or the subscriber
	cut                 // a connection that ended without an answer: this event, another, or the subscriber
	refused             // an answer that asks to try again, or a redirect: the subscriber's trouble, not the event's
	rejected            // an answer that no repetition will change
	gone                // 410: the subscriber asked to stop
	badReply            // it was taken, and answered with what cannot be an event of the log
	notStored           // it was taken, and the log cannot take the reply for now
)

// outcome is a verdict with what the subscriber said.
type outcome struct {
	verdict    verdict
	status     int
	answer     string        // the beginning of the answer, or why there was none
	retryAfter time.Duration // as the answer asked, 0 if it did not
}

// endpoint is where the events of one subscriber are POSTed to. Several
// goroutines may use it at once.
type endpoint struct {
	subscriber, shownURL string // for people: without the password
	transport            *http.Transport
	request              *http.Request // what all requests have in common
	timeout              time.Duration // of one attempt

	publish    func(context.Context, Reply) error // nil: answers are no replies
	replies    []string
	largeReply chan struct{} // holds one while a large reply is read
}

// newEndpoint returns the endpoint of sub. It says that it takes replies only to
// whom may send some: who may not publishes by itself, as with the course's bus.
// Connections are reused; closing the
// idle ones now and then lets a ClusterIP Service spread events over replicas
// that came later.
//
// The transport is used without an http.Client, which would only follow
// redirects and keep cookies, neither of which is wanted, and copies the
// headers for that.
func newEndpoint(sub Subscriber, publish func(context.Context, Reply) error) (*endpoint, error) {
	url := sub.URL
	request, err := http.NewRequest(http.MethodPost, url, nil)
	if err != nil {
		if strings.Contains(url, "@") { // the error may hold a piece of the password
			err = errors.New("it is not a URL")
		}
		return nil, fmt.Errorf("the url %q cannot be used: %w", withoutPassword(url), err)
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("User-Agent", "miniblog-event-bus")
	if publish != nil && len(sub.Replies) > 0 {
		request.Header.Set("Accept", accept)
	}
	if user := request.URL.User; user != nil {
		password, _ := user.Password()
		request.SetBasicAuth(user.Username(), password)
	}
	return &endpoint{
		subscriber: sub.Name, shownURL: withoutPassword(url),
		transport: &http.Transport{
			DialContext:         (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
			MaxIdleConnsPerHost: lanesAtOnce,
			IdleConnTimeout:     90 * time.Second,
			DisableCompression:  true,
		},
		request: request,
		timeout: time.Duration(sub.Timeout),
		publish: publish, replies: sub.Replies, largeReply: make(chan struct{}, 1),
	}, nil
}

// deliver is attempt, with a span.
func (e *endpoint) deliver(ctx context.Context, d *delivery) outcome {
	ctx, span := trace.Push(ctx, e.subscriber, e.shownURL, d.attempts+1, d.line)
	o := e.attempt(ctx, d)
	if o.verdict == delivered {
		span.Pushed(o.status, "", "")
	} else {
		span.Pushed(o.status, outcomes[o.verdict], o.answer)
	}
	return o
}

// attempt POSTs one event and blocks until it is answered, e.timeout at most, and
// until its reply is stored.
func (e *endpoint) attempt(attempt context.Context, d *delivery) outcome {
	ctx, cancel := context.WithTimeout(attempt, e.timeout)
	defer cancel()
	response, err := e.transport.RoundTrip(e.requestFor(ctx, d))
	if err != nil {
		return outcome{verdict: failure(err), answer: reason(err, e.timeout)}
	}
	defer response.Body.Close()
	o := outcome{verdict: judge(response.StatusCode), status: response.StatusCode}
	if mediaType := replyType(response); mediaType != "" && o.verdict == delivered && e.publish != nil && !d.check {
		return e.takeReply(ctx, attempt, response, mediaType)
	}
	if response.ContentLength != 0 {
		text, _ := io.ReadAll(io.LimitReader(response.Body, answerBytes))
		io.Copy(io.Discard, io.LimitReader(response.Body, 64<<10)) // so that the connection can be reused
		o.answer = beginning(text)
	}
	if after := response.Header.Get("Retry-After"); after != "" {
		o.retryAfter = retryAfter(after, time.Now())
	}
	return o
}

// beginning is what is kept of an answer.
func beginning(body []byte) string {
	return strings.ToValidUTF8(string(body[:min(len(body), answerBytes)]), "�")
}

// requestFor copies what is common, as the transport may still look at an
// earlier request. The key and GetBody let it repeat this one on a connection
// that had gone stale.
func (e *endpoint) requestFor(ctx context.Context, d *delivery) *http.Request {
	request, line := e.request.WithContext(ctx), d.line
	request.Header = maps.Clone(request.Header)
	request.Header["Idempotency-Key"] = []string{d.id}
	trace.Inject(ctx, request.Header)
	request.ContentLength = int64(len(line))
	request.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(line)), nil }
	request.Body, _ = request.GetBody()
	return request
}

func failure(err error) verdict {
	var op *net.OpError
	switch {
	case errors.As(err, &op) && op.Op == "dial":
		return unreachable
	case errors.Is(err, context.DeadlineExceeded):
		return silent
	default:
		return cut
	}
}

func reason(err error, timeout time.Duration) string {
	if errors.Is(err, context.DeadlineExceeded) {
		return noAnswer + timeout.String()
	}
	return err.Error()
}

const noAnswer = "no answer within "

func judge(status int) verdict {
	switch {
	case status >= 200 && status < 300:
		return delivered
	case status == http.StatusGone:
		return gone
	case status/100 == 3, status >= 500, status == http.StatusRequestTimeout, status == http.StatusTooEarly, status == http.StatusTooManyRequests:
		return refused
	default:
		return rejected
	}
}

// mostRetryAfter bounds what a subscriber may ask for.
const mostRetryAfter = 10 * time.Minute

// retryAfter reads the header of RFC 9110, section 10.2.3: seconds or a date.
func retryAfter(text string, now time.Time) time.Duration {
	var d time.Duration
	if seconds, err := strconv.Atoi(text); err == nil {
		d = time.Duration(min(seconds, int(mostRetryAfter/time.Second))) * time.Second
	} else if date, err := http.ParseTime(text); err == nil {
		d = date.Sub(now)
	}
	return max(0, min(d, mostRetryAfter))
}
