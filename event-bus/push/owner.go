package push

import (
	"bytes"
	"cmp"
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"sync"
	"time"

	"miniblog/internal/event"
)

// Owners decides, where several processes push the same log, which of them
// delivers to a subscriber: its owner.
type Owners interface {
	// Own blocks until this process is the owner. Its only error is that of ctx.
	// While the tenure lasts, answer is called with what others Ask, from any
	// goroutine; nil is no answer.
	Own(ctx context.Context, subscriber string, answer func(ctx context.Context, question []byte) []byte) (*Tenure, error)
	// Ask returns the answer of the owner. Its error wraps ErrNoOwner where there
	// is none that answers.
	Ask(ctx context.Context, subscriber string, question []byte) ([]byte, error)
}

// Tenure is the time for which a process is the owner of a subscriber.
type Tenure struct {
	Owner     string        // names the process to people
	Store     Store         // its methods fail once the tenure is over
	SaveEvery time.Duration // how far the next owner may go back, if this one ends unexpectedly

	// Over ends with the tenure. What is under way is cancelled then.
	Over context.Context
	// Holds tells whether it lasts. It is asked right before each attempt: a
	// process that was stopped for a while may not have seen Over end yet.
	Holds func() bool
	// End gives it up, so that another process need not wait. It is called once,
	// when nothing is under way.
	End func()
}

// forEver is the tenure of a process that is alone.
func forEver(s Store) *Tenure {
	return &Tenure{Store: s, SaveEvery: saveEvery, Over: context.Background(), Holds: func() bool { return true }, End: func() {}}
}

// seat is a subscriber, and its dispatcher while this process is the owner.
type seat struct {
	sub        Subscriber
	mu         sync.Mutex
	dispatcher *dispatcher
}

func (s *seat) get() *dispatcher {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dispatcher
}

func (s *seat) set(d *dispatcher) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dispatcher = d
}

// serve delivers to the subscriber whenever this process is its owner, until ctx
// ends.
func (p *Pusher) serve(ctx context.Context, s *seat) {
	logger := p.config.Logger.With("subscriber", s.sub.Name)
	answer := func(ctx context.Context, question []byte) []byte { return p.answer(ctx, s, question) }
	for {
		tenure, err := p.config.Owners.Own(ctx, s.sub.Name, answer)
		if err != nil {
			return
		}
		d, err := newDispatcher(p.config, s.sub, tenure)
		if err == nil {
			logger.Info("this copy delivers to the subscriber now", "cursor", d.position.Cursor)
			s.set(d)
			d.run(ctx)
			s.set(nil)
		}
		tenure.End()
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			logger.Warn("this copy delivers to the subscriber no more: another may")
		} else {
			logger.Error("this copy cannot deliver to the subscriber", "error", err)
			select {
			case <-time.After(p.config.FirstBackoff):
			case <-ctx.Done():
			}
		}
	}
}

// question is what may be asked about a subscriber, at any process, and answer
// what its owner says.
type question struct {
	Kind      kind
	After     event.Sequence
	Reason    string
	Limit     int
	Selection Selection
	DryRun    bool
}

type kind int

const (
	askStatus kind = iota
	askReplay
	askAttempts
	askDeadLetters
	askRedeliver
)

type answer struct {
	Error      string
	Status     Status
	Attempts   []Attempt
	Letters    []DeadLetter
	More       bool
	Redelivery Redelivery
}

// askWithin is how long a question waits for a subscriber to have an owner.
const askWithin = 2 * time.Second

// ask puts a question to the owner of a subscriber: this process or another.
func (p *Pusher) ask(ctx context.Context, name string, q question) (answer, error) {
	for _, s := range p.seats {
		if s.sub.Name != name {
			continue
		}
		for began := time.Now(); ; {
			a, err := p.askOnce(ctx, s, q)
			if !errors.Is(err, ErrNoOwner) || time.Since(began) > askWithin || q.Kind == askStatus {
				return a, err
			}
			select {
			case <-time.After(50 * time.Millisecond):
			case <-ctx.Done():
				return a, err
			}
		}
	}
	return answer{}, ErrUnknown
}

func (p *Pusher) askOnce(ctx context.Context, s *seat, q question) (answer, error) {
	if d := s.get(); d != nil {
		a, err := d.answer(ctx, q)
		if p.config.Owners == nil || !errors.Is(err, ErrStopped) {
			return a, err
		}
	}
	select {
	case <-p.stopped:
		return answer{}, ErrStopped
	default:
	}
	var asked bytes.Buffer
	if err := gob.NewEncoder(&asked).Encode(q); err != nil {
		return answer{}, err
	}
	text, err := p.config.Owners.Ask(ctx, s.sub.Name, asked.Bytes())
	if err != nil {
		return answer{}, err
	}
	var a answer
	if err := gob.NewDecoder(bytes.NewReader(text)).Decode(&a); err != nil {
		return a, fmt.Errorf("the answer of the subscriber's owner cannot be read: %w", err)
	}
	for i := range a.Letters { // the log is here, too
		select {
		case <-p.config.Log.Beyond(a.Letters[i].Sequence - 1):
		case <-ctx.Done():
			return a, ctx.Err()
		}
		if err := complete(p.config.Log.Reader, &a.Letters[i]); err != nil {
			return a, err
		}
	}
	return a, errorOf(a.Error)
}

// answer answers a question that was asked at another process; nil if this one
// is not the owner.
func (p *Pusher) answer(ctx context.Context, s *seat, asked []byte) []byte {
	d := s.get()
	var q question
	if d == nil || gob.NewDecoder(bytes.NewReader(asked)).Decode(&q) != nil {
		return nil
	}
	a, err := d.answer(ctx, q)
	if errors.Is(err, ErrStopped) || !d.tenure.Holds() {
		return nil
	}
	if err != nil {
		a.Error = err.Error()
	}
	for i := range a.Letters {
		a.Letters[i].Event = nil
	}
	var text bytes.Buffer
	if err := gob.NewEncoder(&text).Encode(a); err != nil {
		d.logger.Error("an answer for another copy cannot be written", "error", err)
		return nil
	}
	return text.Bytes()
}

// errorOf returns the error with that text, as whoever asks knows it.
func errorOf(text string) error {
	if text == "" {
		return nil
	}
	for _, err := range []error{ErrAhead, ErrNoLetter, ErrAskedToStop, ErrBusy} {
		if text == err.Error() {
			return err
		}
	}
	return errors.New(text)
}

// answer answers a question about the subscriber.
func (d *dispatcher) answer(ctx context.Context, q question) (a answer, err error) {
	if q.Kind == askRedeliver {
		a.Redelivery, err = d.redeliverAndWait(ctx, q.Selection, q.DryRun)
		return a, err
	}
	doErr := d.do(ctx, func() {
		switch q.Kind {
		case askStatus:
			a.Status = d.status()
		case askReplay:
			a.Status, err = d.replayOrSay(q.After, q.DryRun)
		case askAttempts:
			a.Attempts = d.tries.list(d.endpoint)
		case askDeadLetters:
			a.Letters, a.More, err = d.page(q.After, q.Reason, q.Limit)
		}
	})
	return a, cmp.Or(doErr, err)
}

// do runs f in the dispatcher's loop.
func (d *dispatcher) do(ctx context.Context, f func()) error {
	done := make(chan struct{})
	select {
	case d.commands <- func() { f(); close(done) }:
		<-done
		return nil
	case <-d.over:
		return ErrStopped
	case <-ctx.Done():
		return ctx.Err()
	}
}
