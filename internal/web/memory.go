package web

import (
	"container/list"
	"context"
	"errors"
	"math"
	"net/http"
	"runtime/debug"
	"sync"
	"time"
)

// What requests may hold.
const (
	sliceBytes = 64 << 10        // sent or read at once
	smallBytes = 16 << 10        // of a request that is not counted
	patience   = time.Second     // that a slice has before its request may be cut off
	roomWait   = 4 * time.Second // for others to give memory back
	mostShare  = 4               // of GOMEMLIMIT: all requests have a quarter of it
	mostAlone  = 64 << 20        // where GOMEMLIMIT is not set
)

// requests is the memory that the requests of this process share.
var requests = newMemory(mostOf(debug.SetMemoryLimit(-1)))

// mostOf returns how much requests may hold together under a memory limit.
func mostOf(limit int64) int64 {
	if limit == math.MaxInt64 {
		return mostAlone
	}
	return limit / mostShare
}

// memory is what many requests hold together while clients send bodies and read
// answers. When there is no room for one more, the request whose slice has been
// on its way for longest is cut off, if that is longer than patience: who is slow
// pays, not who comes.
//
//   - used is what was taken and not given back. It passes most only where
//     something is counted that is there already, and by one request alone.
//   - slices are those on their way, the oldest first.
type memory struct {
	most int64

	mu      sync.Mutex
	used    int64
	slices  list.List     // of *holder
	changed chan struct{} // closed when something was given back; nil if nobody waits for that
}

func newMemory(most int64) *memory { return &memory{most: most} }

var errNoRoom = errors.New("the requests under way hold all the memory that there is for them")

// take takes n bytes and waits for them, roomWait at most: its errors are
// errNoRoom and ctx's.
func (m *memory) take(ctx context.Context, n int64) error {
	late := time.NewTimer(roomWait)
	defer late.Stop()
	for {
		changed, again := m.tryTake(n)
		if changed == nil {
			return nil
		}
		retry := time.NewTimer(again)
		select {
		case <-changed:
		case <-retry.C:
		case <-late.C:
			retry.Stop()
			return errNoRoom
		case <-ctx.Done():
			retry.Stop()
			return ctx.Err()
		}
		retry.Stop()
	}
}

// tryTake takes n bytes and returns nil, or cuts off who is slow and returns
// what to wait for, and how long.
func (m *memory) tryTake(n int64) (changed <-chan struct{}, again time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.used == 0 || m.used+n <= m.most {
		m.used += n
		return nil, 0
	}
	if m.changed == nil {
		m.changed = make(chan struct{})
	}
	oldest := m.slices.Front()
	if oldest == nil { // those who hold it all are at work
		return m.changed, patience
	}
	h := oldest.Value.(*holder)
	if left := patience - time.Since(h.since); left > 0 {
		return m.changed, left
	}
	h.cutLocked()
	return m.changed, patience
}

// add counts n bytes more, or less, without waiting.
func (m *memory) add(n int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.used += n
	if n < 0 && m.changed != nil {
		close(m.changed)
		m.changed = nil
	}
}

// holder is one request and what it holds of a memory; release must be called in
// the end. It belongs to the request's goroutine; the memory's lock guards what
// says of the slice that is on its way.
type holder struct {
	memory *memory
	held   int64
	shares bool // a body that is counted for all of its readers together

	since   time.Time     // when the slice began
	element *list.Element // nil if none is on its way
	cut     func()        // ends it
	gone    bool          // one was cut off, and with it the request
}

// hold says that the request holds n bytes now, which are there already.
func (h *holder) hold(n int64) {
	if n <= smallBytes {
		n = 0
	}
	if n != h.held {
		h.memory.add(n - h.held)
		h.held = n
	}
}

// has tells whether the request may hold n bytes in all without asking for more.
func (h *holder) has(n int64) bool { return n <= smallBytes || n <= h.held }

// reserve waits until the request may hold n bytes in all.
func (h *holder) reserve(ctx context.Context, n int64) error {
	if h.has(n) {
		return nil
	}
	err := h.memory.take(ctx, n-h.held)
	if err == nil {
		h.held = n
	}
	return err
}

func (h *holder) release() { h.hold(0) }

// begin says that a slice is on its way until end is called. If the request
// holds anything, it may be ended early by cut, which must not block. It returns
// false if that has happened to an earlier one: the request is over.
func (h *holder) begin(cut func()) bool {
	if h.held == 0 && !h.shares {
		return true
	}
	h.memory.mu.Lock()
	defer h.memory.mu.Unlock()
	if h.gone {
		return false
	}
	h.since, h.cut = time.Now(), cut
	h.element = h.memory.slices.PushBack(h)
	return true
}

// end returns false if the slice was cut off.
func (h *holder) end() bool {
	if h.held == 0 && !h.shares {
		return true
	}
	h.memory.mu.Lock()
	defer h.memory.mu.Unlock()
	h.removeLocked()
	return !h.gone
}

func (h *holder) cutLocked() {
	h.gone = true
	h.removeLocked()
	h.cut()
}

func (h *holder) removeLocked() {
	if h.element != nil {
		h.memory.slices.Remove(h.element)
		h.element = nil
	}
}

// holderOf returns the holder of the request that w answers.
func holderOf(w http.ResponseWriter) *holder { return &answerOf(w).holder }

// Reserve waits until the request may hold n bytes in all, for its body or for an
// answer that is to be made after that. They are given back when the request ends. Its error is a
// problem: 503, when the answer is due at the latest.
func Reserve(w http.ResponseWriter, r *http.Request, n int64) error {
	h := holderOf(w)
	if h.has(n) { // most: a deadline would cost them more than all else here
		return nil
	}
	ctx, cancel := UntilDue(w, r)
	defer cancel()
	return reserved(r.Context(), h.reserve(ctx, n))
}

// reserved turns an error of holder.reserve into a problem.
func reserved(ctx context.Context, err error) error {
	if err != nil && ctx.Err() == nil {
		return Unavailable(time.Second, err, "The service has its hands full with large requests. Try again in a moment.")
	}
	return err
}
