package projection

import (
	"sync"

	"miniblog/internal/event"
)

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
