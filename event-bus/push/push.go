// Package push delivers events from the log to the subscribers that asked for
// them, each at its own pace.
//
// Its law: an event is delivered at least once, in order within its subject,
// or becomes a dead letter; the cursor never passes an event that is neither;
// and no subscriber slows a publisher or another subscriber.
//
// What a subscriber does about an event is its answer's body (reply.go): that is
// stored before the event counts as delivered.
//
// Who is to blame when an event is not taken (5xx, 3xx, a connection that is cut
// off, no answer in time)? The event, if another got through since it was tried
// before: that is an attempt, and after the last one the event is a dead letter. If
// none did, the subscriber: it is probed for as long as it takes, and no attempt is
// counted. So that an event that is alone in its subject, or in the log, is not
// tried for ever, the event that was delivered last is sent once more before a
// retry when there was nothing else to tell: if that is taken, the retry counts. A
// subscriber to which nothing was ever delivered is never to be told from one that
// fails: its events wait.
//
// A subscriber is in one of these modes (state.go):
//
//	mode       what is sent                       what ends it                        and then it is
//	up         whatever is ready, 16 at once      a retry with nothing to tell        checking
//	                                              no connection; or one is cut off,   down
//	                                              and nothing got through
//	                                              the same, without an answer in time silent
//	                                              the same, refused twice             failing
//	checking   the last delivered event           an event is taken                   up
//	                                              it is not                           down, silent, failing
//	down       one probe, each after a longer     an event is taken, or rejected      up
//	           wait                               a probe fails in another way        silent, failing
//	silent     as down, but what was not tried    as down                             up, down, failing
//	           yet is a probe at once
//	failing    as down                            an event is taken                   up
//	                                              a probe fails in another way        down, silent
//	any        as above                           an answer 410                       stopped
//	stopped    nothing, also after a restart      a replay                            replaying
//	any        as above                           a replay                            replaying
//	replaying  nothing                            what was under way has come back    up
//
// People are told up (checking is one kind of it), down (so is silent), failing or
// stopped; or broken, which is the log's fault in whatever mode: it cannot be read
// further (lookahead.go).
package push

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"time"

	"miniblog/event-bus/activity"
	"miniblog/event-bus/eventlog"
	"miniblog/internal/disk"
	"miniblog/internal/event"
)

// Config is what a Pusher needs. Zero durations and counts mean the default.
type Config struct {
	Log          *eventlog.Log
	Dir          string // cursors and dead letters; made if missing
	Logger       *slog.Logger
	Activity     *activity.Recorder // is told of attempts and of changes of state; may be nil
	FirstBackoff time.Duration      // 100ms
	MostBackoff  time.Duration      // 30s
	Attempts     int                // of one event before it is given up; 20

	// Publish stores a reply, checked as the body of POST /events is, and of the
	// types that it may have. It returns when the reply is on disk, or BadReply for
	// one that no repetition makes good; after any other error the event is
	// delivered again, which costs it no attempt. Nil: answers are no replies.
	Publish func(context.Context, Reply) error
}

// Pusher serves all subscribers.
type Pusher struct {
	dispatchers []*dispatcher
	stopped     chan struct{} // closed when Run has returned
}

// New loads the subscribers' positions. A new subscriber begins where it asks
// to.
func New(config Config, subscribers []Subscriber) (*Pusher, error) {
	if config.FirstBackoff == 0 {
		config.FirstBackoff = 100 * time.Millisecond
	}
	if config.MostBackoff == 0 {
		config.MostBackoff = 30 * time.Second
	}
	if config.Attempts == 0 {
		config.Attempts = 20
	}
	if err := disk.MakeDir(config.Dir); err != nil {
		return nil, fmt.Errorf("making the folder for cursors: %w", err)
	}
	p := &Pusher{stopped: make(chan struct{})}
	for _, s := range subscribers {
		d, err := newDispatcher(config, s)
		if err != nil {
			return nil, err
		}
		p.dispatchers = append(p.dispatchers, d)
	}
	return p, nil
}

// Run delivers until ctx ends, and then saves the cursors.
func (p *Pusher) Run(ctx context.Context) error {
	defer close(p.stopped)
	var all sync.WaitGroup
	for _, d := range p.dispatchers {
		all.Go(func() { d.run(ctx) })
	}
	all.Wait()
	return nil
}

// Status is how a subscriber is doing.
type Status struct {
	Name            string         `json:"name"`
	URL             string         `json:"url"`
	Types           []string       `json:"types"`
	Ordered         bool           `json:"ordered"`
	Cursor          event.Sequence `json:"cursor"`
	Lag             uint64         `json:"lag"`   // events between the cursor and the end of the log
	State           string         `json:"state"` // up, down, failing, stopped (by its 410) or broken (the log cannot be read)
	LastError       string         `json:"lastError,omitzero"`
	DeadLetterCount int            `json:"deadLetterCount"`
	Reasons         map[string]int `json:"deadLetterReasons,omitempty"` // how many dead letters have each
	DeadLetters     []DeadLetter   `json:"deadLetters"`                 // the newest, without their events
}

// Errors of the methods.
var (
	ErrUnknown     = errors.New("there is no such subscriber")
	ErrStopped     = errors.New("delivery has stopped")
	ErrAhead       = errors.New("the cursor is before that: what lies between was not delivered yet")
	ErrNoLetter    = errors.New("this event is no dead letter")
	ErrAskedToStop = errors.New("the subscriber asked to stop")
	ErrBusy        = errors.New("too many dead letters wait to be delivered again")
)

// List returns how all subscribers are doing.
func (p *Pusher) List(ctx context.Context) ([]Status, error) {
	list := make([]Status, len(p.dispatchers))
	for i, d := range p.dispatchers {
		if err := p.do(ctx, d, func() { list[i] = d.status() }); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// Replay delivers again from after the given sequence, in order, also to a
// subscriber that had asked to stop. It returns once the new cursor is durable.
// A sequence ahead of the cursor is ErrAhead, with the status as it is: a replay
// passes over nothing. A dry run changes nothing and returns the status that
// there would be.
func (p *Pusher) Replay(ctx context.Context, name string, after event.Sequence, dryRun bool) (status Status, err error) {
	doErr := p.at(ctx, name, func(d *dispatcher) {
		if dryRun {
			status, err = d.statusAfterReplay(after)
			return
		}
		err = d.replay(after)
		status = d.status()
	})
	return status, errors.Join(doErr, err)
}

// Attempts returns the newest attempts, the newest first.
func (p *Pusher) Attempts(ctx context.Context, name string) (list []Attempt, err error) {
	err = p.at(ctx, name, func(d *dispatcher) { list = d.tries.list(d.endpoint) })
	return list, err
}

// DeadLetters returns dead letters after a sequence with their events, limit at
// most and fewer if they are large; of one reason, if one is given. more tells
// whether others follow.
func (p *Pusher) DeadLetters(ctx context.Context, name string, after event.Sequence, reason string, limit int) (page []DeadLetter, more bool, err error) {
	doErr := p.at(ctx, name, func(d *dispatcher) { page, more, err = d.page(after, reason, limit) })
	return page, more, errors.Join(doErr, err)
}

// redeliverWait is how long Redeliver waits for what becomes of the letters.
const redeliverWait = 2 * time.Second

// Redeliver delivers dead letters again and returns what became of them within
// two seconds; the others go on. A letter that is taken is removed after that: a
// crash between delivers it once more. A dry run says which would be delivered.
func (p *Pusher) Redeliver(ctx context.Context, name string, s Selection, dryRun bool) (Redelivery, error) {
	var r *redelivery
	var result Redelivery
	var err error
	look := func(d *dispatcher) { result, result.State = r.Redelivery, d.status().State }
	doErr := p.at(ctx, name, func(d *dispatcher) {
		if r, err = d.redeliver(s, dryRun); err == nil {
			look(d)
		}
	})
	if err = errors.Join(doErr, err); err != nil {
		return Redelivery{}, err
	}
	limit := time.NewTimer(redeliverWait)
	defer limit.Stop()
	select {
	case <-r.done:
	case <-limit.C:
	case <-ctx.Done():
	case <-p.stopped:
	}
	p.at(ctx, name, look) // if that fails, the answer is what was known before
	return result, nil
}

// at runs f in the loop of the dispatcher of that name.
func (p *Pusher) at(ctx context.Context, name string, f func(*dispatcher)) error {
	for _, d := range p.dispatchers {
		if d.sub.Name == name {
			return p.do(ctx, d, func() { f(d) })
		}
	}
	return ErrUnknown
}

// do runs f in the dispatcher's loop.
func (p *Pusher) do(ctx context.Context, d *dispatcher, f func()) error {
	done := make(chan struct{})
	select {
	case d.commands <- func() { f(); close(done) }:
		<-done
		return nil
	case <-p.stopped:
		return ErrStopped
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (d *dispatcher) status() Status {
	s := Status{
		Name: d.sub.Name, URL: withoutPassword(d.sub.URL), Types: append([]string{}, d.sub.Types...), Ordered: d.sub.ordered(),
		Cursor: d.position.Cursor, State: d.state.name(), LastError: d.lastError,
		DeadLetterCount: len(d.letters.heads), Reasons: maps.Clone(d.letters.counts), DeadLetters: append([]DeadLetter{}, d.newestLetters()...),
	}
	if last := d.config.Log.Last(); last > s.Cursor {
		s.Lag = uint64(last - s.Cursor)
	}
	if d.lookahead.err != nil {
		s.State = "broken"
	}
	return s
}

// statusAfterReplay is the status that a replay would lead to.
func (d *dispatcher) statusAfterReplay(after event.Sequence) (Status, error) {
	s := d.status()
	if after > s.Cursor {
		return s, ErrAhead
	}
	s.Lag += uint64(s.Cursor - after)
	s.Cursor, s.State = after, "up"
	return s, nil
}
