package push

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// verdict is what an attempt to deliver an event came to.
type verdict int

const (
	delivered   verdict = iota
	unreachable         // no connection: the subscriber is down
	silent              // a connection, and no answer in time: this event, or the subscriber
	cut                 // a connection that ended without an answer: this event, another, or the subscriber
	refused             // an answer that asks to try again
	rejected            // an answer that no repetition will change
	gone                // 410: the subscriber asked to stop
)

// outcome is a verdict with what the subscriber said.
type outcome struct {
	verdict    verdict
	status     int
	answer     string        // the beginning of the answer, or why there was none
	retryAfter time.Duration // as the answer asked, 0 if it did not
}

// newClient returns a client for one subscriber. Connections are reused by its
// lanes; closing the idle ones now and then lets a ClusterIP Service spread
// events over replicas that came later.
func newClient() *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			DialContext:         (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
			MaxIdleConnsPerHost: lanesAtOnce,
			IdleConnTimeout:     90 * time.Second,
			DisableCompression:  true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// attempt POSTs one event and blocks until it is answered, timeout at most.
func attempt(ctx context.Context, client *http.Client, url string, d *delivery, timeout time.Duration) outcome {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(d.line))
	if err != nil {
		return outcome{verdict: unreachable, answer: err.Error()}
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("User-Agent", "miniblog-event-bus")
	request.Header.Set("Idempotency-Key", d.id) // also lets the transport repeat it on a connection that had gone stale
	response, err := client.Do(request)
	if err != nil {
		return outcome{verdict: failure(err), answer: reason(err, timeout)}
	}
	defer response.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(response.Body, answerBytes))
	io.Copy(io.Discard, io.LimitReader(response.Body, 64<<10)) // so that the connection can be reused
	return outcome{
		verdict:    judge(response.StatusCode),
		status:     response.StatusCode,
		answer:     strings.ToValidUTF8(string(text), "�"),
		retryAfter: retryAfter(response.Header.Get("Retry-After"), time.Now()),
	}
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
		return "no answer within " + timeout.String()
	}
	return err.Error()
}

func judge(status int) verdict {
	switch {
	case status >= 200 && status < 300:
		return delivered
	case status == http.StatusGone:
		return gone
	case status >= 500, status == http.StatusRequestTimeout, status == http.StatusTooEarly, status == http.StatusTooManyRequests:
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
