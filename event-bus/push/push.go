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
// Where several processes push the same log, one at a time delivers to a
// subscriber: its owner (owner.go). The next one goes on from the position that
// the last one saved.
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
	Dir          string // cursors and dead letters; made if missing; not used with Owners
	Owners       Owners // where several processes push the log; nil: this one is alone
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
	config  Config
	seats   []*seat
	stopped chan struct{} // closed when Run has returned
}

// New returns a pusher for the subscribers. Where it is alone it loads their
// positions, and a new subscriber begins where it asks to.
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
	p := &Pusher{config: config, stopped: make(chan struct{})}
	for _, sub := range subscribers {
		p.seats = append(p.seats, &seat{sub: sub})
	}
	if config.Owners != nil {
		return p, nil
	}
	if err := disk.MakeDir(config.Dir); err != nil {
		return nil, fmt.Errorf("making the folder for cursors: %w", err)
	}
	for _, s := range p.seats {
		d, err := newDispatcher(config, s.sub, forEver(newFileStore(config.Dir, s.sub.Name)))
		if err != nil {
			return nil, err
		}
		s.set(d)
	}
	return p, nil
}

// Run delivers until ctx ends, and then saves the cursors.
func (p *Pusher) Run(ctx context.Context) error {
	defer close(p.stopped)
	var all sync.WaitGroup
	for _, s := range p.seats {
		all.Go(func() {
			if p.config.Owners != nil {
				p.serve(ctx, s)
			} else {
				s.get().run(ctx)
			}
		})
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
	Lag             uint64         `json:"lag"`            // events between the cursor and the end of the log
	State           string         `json:"state"`          // up, down, failing, stopped (by its 410), broken (the log cannot be read) or unowned
	Owner           string         `json:"owner,omitzero"` // the copy of the bus that delivers to it, where there are several
	LastError       string         `json:"lastError,omitzero"`
	DeadLetterCount int            `json:"deadLetterCount"`
	Reasons         map[string]int `json:"deadLetterReasons,omitempty"` // how many dead letters have each
	DeadLetters     []DeadLetter   `json:"deadLetters"`                 // the newest, without their events
}

// Errors of the methods.
var (
	ErrUnknown     = errors.New("there is no such subscriber")
	ErrStopped     = errors.New("delivery has stopped")
	ErrNoOwner     = errors.New("no copy of the bus delivers to this subscriber at the moment")
	ErrAhead       = errors.New("the cursor is before that: what lies between was not delivered yet")
	ErrNoLetter    = errors.New("this event is no dead letter")
	ErrAskedToStop = errors.New("the subscriber asked to stop")
	ErrBusy        = errors.New("too many dead letters wait to be delivered again")
)

// List returns how all subscribers are doing. One that no process delivers to at
// the moment is unowned: its cursor is not known here.
func (p *Pusher) List(ctx context.Context) ([]Status, error) {
	list := make([]Status, len(p.seats))
	for i, s := range p.seats {
		a, err := p.ask(ctx, s.sub.Name, question{Kind: askStatus})
		if errors.Is(err, ErrNoOwner) {
			a.Status, err = newStatus(&s.sub, "unowned"), nil
			a.Status.Lag = uint64(p.config.Log.Last()) // nobody may think that it has everything
		}
		if err != nil {
			return nil, err
		}
		if list[i] = a.Status; list[i].DeadLetters == nil {
			list[i].DeadLetters = []DeadLetter{}
		}
	}
	return list, nil
}

// Replay delivers again from after the given sequence, in order, also to a
// subscriber that had asked to stop. It returns once the new cursor is durable.
// A sequence ahead of the cursor is ErrAhead, with the status as it is: a replay
// passes over nothing. A dry run changes nothing and returns the status that
// there would be.
func (p *Pusher) Replay(ctx context.Context, name string, after event.Sequence, dryRun bool) (Status, error) {
	a, err := p.ask(ctx, name, question{Kind: askReplay, After: after, DryRun: dryRun})
	return a.Status, err
}

// Attempts returns the newest attempts, the newest first.
func (p *Pusher) Attempts(ctx context.Context, name string) ([]Attempt, error) {
	a, err := p.ask(ctx, name, question{Kind: askAttempts})
	return a.Attempts, err
}

// DeadLetters returns dead letters after a sequence with their events, limit at
// most and fewer if they are large; of one reason, if one is given. more tells
// whether others follow.
func (p *Pusher) DeadLetters(ctx context.Context, name string, after event.Sequence, reason string, limit int) (page []DeadLetter, more bool, err error) {
	a, err := p.ask(ctx, name, question{Kind: askDeadLetters, After: after, Reason: reason, Limit: limit})
	return a.Letters, a.More, err
}

// Redeliver delivers dead letters again and returns what became of them within
// two seconds; the others go on. A letter that is taken is removed after that: a
// crash between delivers it once more. A dry run says which would be delivered.
func (p *Pusher) Redeliver(ctx context.Context, name string, s Selection, dryRun bool) (Redelivery, error) {
	a, err := p.ask(ctx, name, question{Kind: askRedeliver, Selection: s, DryRun: dryRun})
	return a.Redelivery, err
}

// newStatus is the status of a subscriber of which nothing is known but its entry.
func newStatus(sub *Subscriber, state string) Status {
	return Status{Name: sub.Name, URL: withoutPassword(sub.URL), Types: append([]string{}, sub.Types...), Ordered: sub.ordered(), State: state}
}

func (d *dispatcher) status() Status {
	s := newStatus(&d.sub, d.state.name())
	s.Owner, s.Cursor, s.LastError = d.tenure.Owner, d.position.Cursor, d.lastError
	s.DeadLetterCount, s.Reasons, s.DeadLetters = len(d.letters.heads), maps.Clone(d.letters.counts), d.newestLetters()
	if last := d.config.Log.Last(); last > s.Cursor {
		s.Lag = uint64(last - s.Cursor)
	}
	if d.lookahead.err != nil {
		s.State = "broken"
	}
	return s
}

// replayOrSay begins a replay, or says what the status would be after it.
func (d *dispatcher) replayOrSay(after event.Sequence, dryRun bool) (Status, error) {
	if !dryRun {
		err := d.replay(after)
		return d.status(), err
	}
	s := d.status()
	if after > s.Cursor {
		return s, ErrAhead
	}
	s.Lag += uint64(s.Cursor - after)
	s.Cursor, s.State = after, "up"
	return s, nil
}
