package cluster

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"miniblog/event-bus/eventlog"
	"miniblog/event-bus/push"
	"miniblog/internal/event"
)

// tenure is the time for which this process owns a subscriber, and the store that
// it has then: push.Tenure and push.Store.
//
//   - record is what was written last, and revision its revision, unless unknown:
//     then a write has failed and may have been stored nevertheless.
//   - renewed is when the last write that succeeded began.
type tenure struct {
	owners       *Owners
	kv           jetstream.KeyValue
	subscriber   string
	over         context.Context
	cancel       context.CancelFunc
	renewing     context.Context // ends before over: see end
	stopRenewing context.CancelFunc
	subscription *nats.Subscription
	running      sync.WaitGroup

	writing  sync.Mutex // held while something is written
	record   record
	first    uint64 // the record's revision when the tenure began
	revision uint64
	unknown  bool

	mu      sync.Mutex
	renewed time.Time
}

var errOver = errors.New("another copy may deliver to this subscriber now")

// holds tells whether the tenure lasts. Once it does not, it never will.
func (t *tenure) holds() bool {
	if t.over.Err() != nil {
		return false
	}
	if t.left() > 0 {
		return true
	}
	t.cancel()
	return false
}

// left returns how long the tenure lasts without another renewal. A machine that
// was asleep may show that on one of its two clocks only.
func (t *tenure) left() time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	return t.owners.lease/4*3 - max(now.Sub(t.renewed), now.Round(0).Sub(t.renewed.Round(0)))
}

// renew writes the record often enough for the tenure to last, and ends it when it
// does not.
func (t *tenure) renew() {
	for pause(t.renewing, min(t.owners.lease/16, max(t.left(), 0))) {
		if t.owners.log.Failure() != nil { // another copy may deliver what this one cannot read
			t.cancel()
		}
		if t.holds() && t.left() < t.owners.lease/2 {
			if err := t.write(t.renewing, attemptWithin, func(*record) {}); err != nil {
				t.owners.logger.Debug("the ownership could not be renewed", "subscriber", t.subscriber, "error", err)
			}
		}
	}
}

// end gives the tenure up, and waits for what belongs to it. Servers that are busy
// with an election keep no process from stopping: the next owner waits for a lease.
func (t *tenure) end() {
	if t.subscription != nil {
		t.subscription.Unsubscribe()
	}
	t.stopRenewing()
	t.write(t.over, attemptWithin/2, func(r *record) { r.Owner = "" })
	t.cancel()
	t.running.Wait()
	t.owners.owned.Add(-1)
}

// write changes the record, which renews the tenure.
func (t *tenure) write(ctx context.Context, within time.Duration, change func(*record)) error {
	t.writing.Lock()
	defer t.writing.Unlock()
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	return t.writeLocked(ctx, change)
}

func (t *tenure) writeLocked(ctx context.Context, change func(*record)) error {
	if err := t.resolveLocked(ctx); err != nil {
		return err
	}
	next := t.record
	change(&next)
	text, err := json.Marshal(next)
	if err != nil {
		return err
	}
	began := time.Now()
	revision, err := t.kv.Update(ctx, ownerKey(t.subscriber), text, t.revision)
	if err != nil {
		t.unknown = true
		return fmt.Errorf("writing who owns the subscriber: %w", err)
	}
	t.record, t.revision = next, revision
	t.mu.Lock()
	t.renewed = began
	t.mu.Unlock()
	return nil
}

// resolveLocked finds out which revision the record has. What is read may be old:
// what is written by its revision then fails, and is tried again.
func (t *tenure) resolveLocked(ctx context.Context) error {
	if !t.holds() {
		return errOver
	}
	if !t.unknown {
		return nil
	}
	entry, err := t.kv.Get(ctx, ownerKey(t.subscriber))
	if err != nil {
		return fmt.Errorf("reading who owns the subscriber: %w", err)
	}
	var now record
	if err := json.Unmarshal(entry.Value(), &now); err != nil {
		return err
	}
	switch {
	case now.Tenure == t.record.Tenure: // only this process writes that
		t.revision, t.unknown = max(t.revision, entry.Revision()), false
		return nil
	case entry.Revision() > t.revision:
		t.cancel()
		return errOver
	default:
		return errors.New("what was read of who owns the subscriber is old")
	}
}

// loadWithin is how long reading the dead letters may take.
const loadWithin = time.Minute

// Load implements push.Store. It reads up to the record that began the tenure:
// nobody wrote dead letters after that.
func (t *tenure) Load(keep func(push.DeadLetter)) (p push.Position, found bool, err error) {
	ctx, cancel := context.WithTimeout(t.over, loadWithin)
	defer cancel()
	watcher, err := t.kv.WatchFiltered(ctx, []string{ownerKey(t.subscriber), "letter." + t.subscriber + ".>"})
	if err != nil {
		return p, false, fmt.Errorf("reading the dead letters: %w", err)
	}
	defer watcher.Stop()
	letters := map[event.Sequence]push.DeadLetter{}
	for {
		select {
		case entry, open := <-watcher.Updates():
			switch {
			case !open:
				return p, false, errors.New("reading the dead letters: the watch has ended")
			case entry == nil:
			case entry.Key() == ownerKey(t.subscriber):
				if entry.Revision() < t.first {
					continue
				}
				for _, q := range slices.Sorted(maps.Keys(letters)) {
					keep(letters[q])
				}
				p, found = t.position()
				return p, found, nil
			default:
				q, err := event.ParseSequence(entry.Key()[strings.LastIndexByte(entry.Key(), '.')+1:])
				if err != nil {
					return p, false, fmt.Errorf("the key %s names no dead letter: %w", entry.Key(), err)
				}
				if entry.Operation() != jetstream.KeyValuePut {
					delete(letters, q)
					continue
				}
				var letter push.DeadLetter
				if err := json.Unmarshal(entry.Value(), &letter); err != nil {
					return p, false, fmt.Errorf("the dead letter %s cannot be read: %w", entry.Key(), err)
				}
				letters[q] = letter
			}
		case <-ctx.Done():
			return p, false, fmt.Errorf("reading the dead letters: %w", ctx.Err())
		}
	}
}

// position returns the position that was written last.
func (t *tenure) position() (p push.Position, found bool) {
	t.writing.Lock()
	defer t.writing.Unlock()
	if t.record.Position == nil {
		return p, false
	}
	return *t.record.Position, true
}

// Save implements push.Store.
func (t *tenure) Save(p push.Position) error {
	return t.write(t.over, attemptWithin, func(r *record) { r.Position = &p })
}

// Add implements push.Store. The event is left out: every copy has it in its log.
func (t *tenure) Add(letter push.DeadLetter) error {
	letter.Event = nil
	letter.ID, letter.Answer = strings.ToValidUTF8(letter.ID, "�"), strings.ToValidUTF8(letter.Answer, "�")
	text, err := json.Marshal(letter)
	if err != nil {
		return err
	}
	m := nats.NewMsg(subjectOf(letterKey(t.subscriber, letter.Sequence)))
	m.Data = text
	return t.publish(m, true)
}

// Remove implements push.Store.
func (t *tenure) Remove(q event.Sequence) error {
	m := nats.NewMsg(subjectOf(letterKey(t.subscriber, q)))
	m.Header.Set("KV-Operation", "DEL")
	return t.publish(m, false, jetstream.WithMsgTTL(markerTTL))
}

// publish writes a key if the record has not changed hands. Dead letters leave a
// quarter of the bucket free: when it is full, no record can be written.
func (t *tenure) publish(m *nats.Msg, grows bool, options ...jetstream.PublishOpt) error {
	t.writing.Lock()
	defer t.writing.Unlock()
	ctx, cancel := context.WithTimeout(t.over, 2*attemptWithin)
	defer cancel()
	if err := t.resolveLocked(ctx); err != nil {
		return err
	}
	if grows {
		status, err := t.kv.Status(ctx)
		if err != nil {
			return err
		}
		if limit := status.Config().MaxBytes; limit > 0 && status.Bytes() > uint64(limit)/4*3 {
			return fmt.Errorf("%w: the bucket %s holds too many dead letters", eventlog.ErrFull, bucketName)
		}
	}
	_, err := t.owners.log.js.PublishMsg(ctx, m, append(options, jetstream.WithExpectLastSequenceForSubject(t.revision, subjectOf(ownerKey(t.subscriber))))...)
	if err != nil {
		t.unknown = true
		return fmt.Errorf("writing a dead letter: %w", err)
	}
	return nil
}

// Letter implements push.Store. A server that is behind may not have it yet.
func (t *tenure) Letter(q event.Sequence) (letter push.DeadLetter, err error) {
	ctx, cancel := context.WithTimeout(t.over, 2*attemptWithin)
	defer cancel()
	for {
		entry, err := t.kv.Get(ctx, letterKey(t.subscriber, q))
		if err == nil {
			return letter, json.Unmarshal(entry.Value(), &letter)
		}
		if !pause(ctx, 20*time.Millisecond) {
			return letter, fmt.Errorf("reading the dead letter of event %d: %w", q, err)
		}
	}
}

// PutAside implements push.Store. The other log is gone, and its dead letters go
// with it.
func (t *tenure) PutAside(string) error {
	var all []event.Sequence
	if _, _, err := t.Load(func(letter push.DeadLetter) { all = append(all, letter.Sequence) }); err != nil {
		return err
	}
	for _, q := range all {
		if err := t.Remove(q); err != nil {
			return err
		}
	}
	return nil
}

// Kept returns what is kept of each subscriber, to be read while ctx lasts,
// whoever its owner is.
func (o *Owners) Kept(ctx context.Context) (map[string]push.Source, error) {
	kv, err := o.bucket(ctx)
	if err != nil {
		return nil, err
	}
	watcher, err := kv.Watch(ctx, ownerKey("*"))
	if err != nil {
		return nil, err
	}
	defer watcher.Stop()
	kept := map[string]push.Source{}
	for entry := range watcher.Updates() {
		if entry == nil {
			return kept, nil
		}
		name := strings.TrimPrefix(entry.Key(), ownerKey(""))
		t := &tenure{owners: o, kv: kv, subscriber: name, over: ctx}
		if err := json.Unmarshal(entry.Value(), &t.record); err != nil {
			return nil, fmt.Errorf("the record %s cannot be read: %w", entry.Key(), err)
		}
		kept[name] = t
	}
	return nil, fmt.Errorf("reading who owns the subscribers: %w", context.Cause(ctx))
}
