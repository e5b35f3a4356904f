package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"miniblog/event-bus/eventlog"
	"miniblog/internal/event"
)

// follow applies the stream until ctx ends or something is wrong with it. A
// consumer that is lost is replaced.
func (l *Log) follow(ctx context.Context) {
	for ctx.Err() == nil {
		began := time.Now()
		err := l.consume(ctx)
		var stopped *stopError
		if errors.As(err, &stopped) {
			l.fail(err)
			return
		}
		l.config.Logger.Debug("the consumer of the stream is begun again", "error", err)
		if time.Since(began) < time.Second { // it could not begin: an election takes its time
			pause(ctx, 100*time.Millisecond)
		}
	}
}

// heartbeat is how often the servers say that a consumer is there. Who stops takes its
// consumers along without a word: two that do not come are all that tells.
const heartbeat = 500 * time.Millisecond

// aheadMessages is how many messages are fetched ahead, aheadBytes how large they
// may be, and applyBytes how many bytes of messages are applied as one.
const (
	aheadMessages = 512
	aheadBytes    = 8 << 20
	applyBytes    = 512 << 10
)

// consume applies what comes after the last message that was applied. It returns
// a stopError when the copy must not go on, and another one when a new consumer
// may do better.
func (l *Log) consume(ctx context.Context) error {
	id, err := l.findStream(ctx, false)
	if err != nil {
		return err
	}
	if id != l.ID() {
		return stopf("the stream %s is now the log %s, and this is a copy of %s", streamName, id, l.ID())
	}
	consumer, err := l.newConsumer(ctx, l.current.Message+1)
	if err != nil {
		return err
	}
	incoming, err := consumer.Messages(
		jetstream.PullExpiry(10*time.Second), jetstream.PullHeartbeat(heartbeat),
		jetstream.PullMaxMessagesWithBytesLimit(aheadMessages, aheadBytes))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	messages := make(chan jetstream.Msg, aheadMessages)
	lost := make(chan error, 1)
	go func() { // ends with ctx or the consumer
		for delivered := uint64(1); ; delivered++ {
			m, err := incoming.Next(jetstream.NextContext(ctx))
			if err == nil {
				err = isDelivery(m, delivered)
			}
			if err != nil {
				incoming.Stop()
				lost <- err
				return
			}
			select {
			case messages <- m:
			case <-ctx.Done():
			}
		}
	}()
	next, m := l.current.Message, &message{} // only this loop writes current
	for {
		select {
		case first := <-messages:
			var group []*message
			for one, size := first, 0; one != nil; {
				if next++; placeOf(one) != next {
					return stopf("message %d of the stream %s is missing: %d came", next, streamName, placeOf(one))
				}
				whole, err := m.join(one.Headers(), one.Data())
				if err != nil {
					return stopf("message %d of the stream %s: %w", next, streamName, err)
				}
				if whole {
					group = append(group, m)
					size += len(m.body)
					m = &message{}
				}
				one = nil
				if size < applyBytes && !(whole && group[len(group)-1].isBarrier()) {
					select {
					case one = <-messages:
					default:
					}
				}
			}
			if len(group) > 0 {
				if err := l.apply(ctx, next-uint64(m.parts), group); err != nil {
					return err
				}
			}
		case err := <-lost:
			return err
		}
	}
}

// consumerKept is how long the servers keep a consumer that nobody reads.
const consumerKept = 30 * time.Second

// newConsumer makes a consumer of what the stream has from a message on. It is
// NATS's ordered consumer, but one that never replaces itself: that waits for 10 s
// for an answer, which in an election does not come.
func (l *Log) newConsumer(ctx context.Context, first uint64) (jetstream.Consumer, error) {
	ctx, cancel := context.WithTimeout(ctx, attemptWithin)
	defer cancel()
	return l.js.CreateConsumer(ctx, streamName, jetstream.ConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: first, AckPolicy: jetstream.AckNonePolicy,
		Replicas: 1, MemoryStorage: true, InactiveThreshold: consumerKept,
	})
}

// isDelivery returns an error if m is not the consumer's nth: others were lost on
// their way here, and the stream has them still.
func isDelivery(m jetstream.Msg, n uint64) error {
	meta, err := m.Metadata()
	if err == nil && meta.Sequence.Consumer != n {
		err = fmt.Errorf("delivery %d came where %d should be", meta.Sequence.Consumer, n)
	}
	return err
}

func placeOf(m jetstream.Msg) uint64 {
	if meta, err := m.Metadata(); err == nil {
		return meta.Sequence.Stream
	}
	return 0
}

// apply stores what a run of messages holds, up to the one at place last, and
// answers those that were sent from here.
func (l *Log) apply(ctx context.Context, last uint64, group []*message) error {
	var lines []event.Line
	counts := make([]int, len(group))
	for i, m := range group {
		if err := l.compare(m.copy, m.applied); err != nil {
			return err
		}
		more, err := m.lines()
		if err != nil {
			return stopf("message %s of the stream %s: %w", m.nonce, streamName, err)
		}
		counts[i] = len(more)
		lines = append(lines, more...)
	}
	var positions []eventlog.Position
	if len(lines) > 0 {
		var err error
		if positions, err = l.copy.Apply(ctx, lines); err != nil {
			if errors.Is(err, eventlog.ErrFull) || ctx.Err() != nil {
				return fmt.Errorf("message %d cannot be stored: %w", last, err) // tried again: there may be room
			}
			return stopf("applying the stream up to message %d: %w", last, err)
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.current = applied{last, l.copy.Mark()}
	l.seen.Store(last)
	if group[len(group)-1].isBarrier() {
		l.pointLocked(l.current)
	}
	for i, m := range group {
		if g := l.pending[m.nonce]; g != nil { // it was stored after this copy was opened
			if stored := l.copy.Last(); stored != l.current.Sequence {
				return stopf("the stream %s ends at event %d, and this copy holds %d: it is of another history", streamName, l.current.Sequence, stored)
			}
			g.apply(positions[:counts[i]:counts[i]])
		}
		positions = positions[counts[i]:]
	}
	return nil
}
