package api

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"miniblog/event-bus/activity"
	"miniblog/event-bus/push"
	"miniblog/internal/event"
	"miniblog/internal/web"
	"miniblog/internal/wire"
)

// ReplyPublisher is push.Config's Publish: it stores what subscribers answer a
// push with, checked as the body of POST /events is, and tells recorder.
func ReplyPublisher(log Log, recorder *activity.Recorder) func(context.Context, push.Reply) error {
	return func(ctx context.Context, reply push.Reply) error {
		arrived := time.Now()
		lines, err := readReply(reply)
		if err != nil {
			return badReply(err)
		}
		positions, err := appendTo(ctx, log, lines)
		recorder.Replied(positions, arrived)
		return err
	}
}

// readReply reads a reply as lines of the log, of the types that it may have.
func readReply(reply push.Reply) (lines []event.Line, err error) {
	if reply.MediaType == wire.Batch {
		lines, err = readLines(reply.Body)
	} else {
		lines = make([]event.Line, 1)
		lines[0], err = readLine(reply.Body)
	}
	if err != nil {
		return nil, err
	}
	for _, line := range lines {
		if !slices.Contains(reply.Types, string(line.Type())) {
			return nil, push.BadReply(fmt.Sprintf("the subscriber may not answer with %.*q: its entry has the replies %q", event.MaxID, line.Type(), reply.Types))
		}
	}
	return lines, nil
}

// badReply says why a reply is no event.
func badReply(err error) error {
	p, isProblem := errors.AsType[*web.Problem](err)
	switch {
	case !isProblem:
		return err
	case p.Field != "":
		return push.BadReply(p.Field + ": " + p.Detail)
	default:
		return push.BadReply(p.Detail)
	}
}
