package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"miniblog/event-bus/push"
	"miniblog/internal/event"
)

// Owners keeps in a bucket of JetStream KV which copy of the bus delivers to which
// subscriber: push.Owners.
//
//	owner.NAME              a record: who is the owner, and the position
//	letter.NAME.SEQUENCE    a dead letter, without its event, which is in the log
//
// The record is lease and fence in one. Its owner writes it by revision, at least
// four times a lease, and is the owner until three quarters of a lease have
// passed since it began the last write that succeeded. Another copy takes over,
// by revision, a lease after it saw the record change last. So there is never a
// second owner, whatever any copy believes that it read; only clocks that run at
// different speeds could make one, by a quarter. Dead letters are written on the
// condition that the record has not changed hands.
type Owners struct {
	log    *Log
	lease  time.Duration
	owner  string // this process, for people
	logger *slog.Logger
	owned  atomic.Int32 // subscribers that this copy owns

	mu sync.Mutex
	kv jetstream.KeyValue // nil until somebody needs it
}

// Lease is how long a subscriber waits at most for another owner after its owner
// has died.
const Lease = 8 * time.Second

// Owners returns who owns the subscribers of this log. owner names this process to
// people.
func (l *Log) Owners(owner string, lease time.Duration) *Owners {
	return &Owners{log: l, lease: lease, owner: owner, logger: l.config.Logger}
}

// record is what the owner writes.
type record struct {
	Owner    string         `json:"owner"`             // for people; "" when it was given up
	Tenure   string         `json:"tenure"`            // tells two tenures apart
	Position *push.Position `json:"position,omitzero"` // nil until there is one
}

const (
	bucketName = "miniblog-push"
	// markerTTL is how long a dead letter that was removed leaves a trace.
	markerTTL = 10 * time.Minute
	// turnOfEach is how much longer a copy waits for each subscriber that it owns
	// already: so they spread over the copies.
	turnOfEach = 500 * time.Millisecond
)

func ownerKey(subscriber string) string { return "owner." + subscriber }

func letterKey(subscriber string, q event.Sequence) string {
	return "letter." + subscriber + "." + q.String()
}

// subjectOf returns the subject that a key's messages have.
func subjectOf(key string) string { return "$KV." + bucketName + "." + key }

// askSubject is where the owner of a subscriber answers.
func askSubject(subscriber string) string { return bucketName + ".ask." + subscriber }

// Own implements push.Owners. A copy that does not know the log to its end yet, or
// has stopped, waits.
func (o *Owners) Own(ctx context.Context, subscriber string, answer func(context.Context, []byte) []byte) (*push.Tenure, error) {
	for {
		t, err := o.own(ctx, subscriber, answer)
		if err == nil {
			return &push.Tenure{Owner: o.owner, Store: t, SaveEvery: saveEvery, Over: t.over, Holds: t.holds, End: t.end}, nil
		}
		o.logger.Debug("not the owner yet", "subscriber", subscriber, "error", err)
		if !pause(ctx, o.lease/16) {
			return nil, ctx.Err()
		}
	}
}

// own waits until there is no owner, and tries to become it.
func (o *Owners) own(ctx context.Context, subscriber string, answer func(context.Context, []byte) []byte) (*tenure, error) {
	if err := errors.Join(o.log.Ready(), o.log.Failure()); err != nil {
		return nil, err
	}
	kv, err := o.bucket(ctx)
	if err != nil {
		return nil, err
	}
	watching, stop := context.WithCancel(ctx)
	defer stop()
	watcher, err := kv.Watch(watching, ownerKey(subscriber))
	if err != nil {
		return nil, err
	}
	defer watcher.Stop()
	vacant := time.NewTimer(time.Hour)
	defer vacant.Stop()
	var last record
	var revision uint64
	var owned int32 // when the wait began
	for {
		select {
		case entry, open := <-watcher.Updates():
			wait := o.turn(&owned)
			switch {
			case !open:
				return nil, errors.New("the watch has ended")
			case entry == nil && revision > 0: // no more that was there before
				continue
			case entry != nil:
				revision, last = entry.Revision(), record{}
				if err := json.Unmarshal(entry.Value(), &last); err != nil {
					return nil, fmt.Errorf("the record %s cannot be read: %w", entry.Key(), err)
				}
				if last.Owner != "" {
					wait += o.lease
				}
			}
			vacant.Reset(wait)
		case <-vacant.C:
			if !o.owned.CompareAndSwap(owned, owned+1) { // it got another one meanwhile
				vacant.Reset(o.turn(&owned))
				continue
			}
			return o.take(ctx, kv, subscriber, revision, last.Position, answer)
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// turn returns how long this copy waits before it takes one more subscriber than
// the number that it owns, which it puts into owned.
func (o *Owners) turn(owned *int32) time.Duration {
	*owned = o.owned.Load()
	return time.Duration(*owned) * turnOfEach
}

// bucket returns the bucket, and makes it if it is not there.
func (o *Owners) bucket(ctx context.Context) (jetstream.KeyValue, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.kv != nil {
		return o.kv, nil
	}
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	kv, err := o.log.js.KeyValue(ctx, bucketName)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		kv, err = o.makeBucket(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("the bucket %s: %w", bucketName, err)
	}
	status, err := kv.Status(ctx)
	if err != nil {
		return nil, err
	}
	if config := status.Config(); config.Replicas < replicas || config.Storage != jetstream.FileStorage || config.TTL != 0 {
		return nil, fmt.Errorf("the bucket %s is not kept for good on the disks of %d servers", bucketName, replicas)
	}
	o.kv = kv
	return kv, nil
}

// makeBucket makes the bucket, in the room that the log's stream leaves.
func (o *Owners) makeBucket(ctx context.Context) (jetstream.KeyValue, error) {
	limit, err := o.log.room(ctx, 1)
	if err != nil {
		return nil, err
	}
	return o.log.js.CreateKeyValue(ctx, jetstream.KeyValueConfig{
		Bucket: bucketName, Description: "who delivers to which subscriber of the miniblog's event bus, and dead letters",
		History: 1, Storage: jetstream.FileStorage, Replicas: replicas, MaxBytes: limit, LimitMarkerTTL: markerTTL,
	})
}

// take becomes the owner if the record still has that revision, 0 for none. It
// counts as owned already.
func (o *Owners) take(ctx context.Context, kv jetstream.KeyValue, subscriber string, revision uint64, position *push.Position, answer func(context.Context, []byte) []byte) (*tenure, error) {
	t := &tenure{owners: o, kv: kv, subscriber: subscriber, record: record{o.owner, event.NewID(), position}, revision: revision, renewed: time.Now()}
	t.over, t.cancel = context.WithCancel(context.WithoutCancel(ctx))
	t.renewing, t.stopRenewing = context.WithCancel(t.over)
	err := t.write(t.over, attemptWithin, func(*record) {})
	t.first = t.revision
	if err != nil {
		t.cancel()
		o.owned.Add(-1)
		return nil, err
	}
	if position != nil && position.Cursor > 0 { // this copy may be a little behind the one that was the owner
		select {
		case <-o.log.Beyond(position.Cursor - 1):
		case <-time.After(o.lease / 2):
			err = fmt.Errorf("this copy does not have event %d yet", position.Cursor)
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	if err == nil {
		err = t.listen(answer)
	}
	t.running.Go(t.renew)
	if err != nil {
		t.end()
		return nil, err
	}
	return t, nil
}

// listen answers what other copies ask.
func (t *tenure) listen(answer func(context.Context, []byte) []byte) error {
	subscription, err := t.owners.log.conn.Subscribe(askSubject(t.subscriber), func(m *nats.Msg) {
		t.running.Go(func() {
			ctx, cancel := context.WithTimeout(t.over, answerWithin)
			defer cancel()
			if text := answer(ctx, m.Data); text != nil && t.holds() {
				m.Respond(text) // if it is lost, whoever asked asks again
			}
		})
	})
	t.subscription = subscription
	return err
}

// Ask implements push.Owners.
func (o *Owners) Ask(ctx context.Context, subscriber string, question []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	m, err := o.log.conn.RequestWithContext(ctx, askSubject(subscriber), question)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", push.ErrNoOwner, err)
	}
	return m.Data, nil
}
