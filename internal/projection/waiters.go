package projection

import (
	"context"
	"sync"
	"time"

	"miniblog/internal/event"
)

// Await waits until the database holds what e says: with a sequence, until it
// was fetched and applied; without one, or from a bus without a log, e is
// applied at once. reached is false if that took longer than limit.
func (p *Projection) Await(ctx context.Context, e event.Event, limit time.Duration) (reached bool, err error) {
	if e.Sequence == 0 || p.simple() {
		return true, p.ApplyNow(e)
	}
	waiting, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return p.WaitFor(waiting, e.Sequence) == nil, ctx.Err()
}

// WaitFor returns nil when the event at sequence was applied, or ctx's error.
func (p *Projection) WaitFor(ctx context.Context, sequence event.Sequence) error {
	if p.Checkpoint() >= sequence {
		return nil
	}
	done := p.waiting.add(sequence)
	defer p.waiting.remove(done)
	if p.Checkpoint() >= sequence { // it came before the waiter was known
		return nil
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// waiters are those who wait for the checkpoint to reach a sequence, and those
// who wait for any commit. The zero value is ready for use.
type waiters struct {
	mu      sync.Mutex
	at      map[chan struct{}]event.Sequence
	changed chan struct{}
}

// add returns a channel that is closed when the checkpoint reaches sequence.
func (w *waiters) add(sequence event.Sequence) chan struct{} {
	done := make(chan struct{})
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.at == nil {
		w.at = make(map[chan struct{}]event.Sequence)
	}
	w.at[done] = sequence
	return done
}

// remove forgets a channel of add.
func (w *waiters) remove(done chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.at, done)
}

// next returns a channel that is closed at the next wake.
func (w *waiters) next() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.changed == nil {
		w.changed = make(chan struct{})
	}
	return w.changed
}

// wake tells those whose wait is over.
func (w *waiters) wake(checkpoint event.Sequence) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for done, sequence := range w.at {
		if sequence <= checkpoint {
			close(done)
			delete(w.at, done)
		}
	}
	if w.changed != nil {
		close(w.changed)
		w.changed = nil
	}
}
