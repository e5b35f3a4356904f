package push

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"miniblog/internal/event"
)

// Selection says which dead letters are meant: one, or all that fit.
type Selection struct {
	Sequence event.Sequence // this one; 0 for those that
	Reason   string         // have this reason, "" for any,
	From     event.Sequence // and are this one or come after it
}

// Redelivery is what became, or would become, of dead letters that are to be
// delivered again.
type Redelivery struct {
	DryRun    bool           `json:"dryRun"`
	Matched   int            `json:"matched"`
	First     event.Sequence `json:"first,omitzero"` // of those that matched
	Last      event.Sequence `json:"last,omitzero"`
	Delivered int            `json:"delivered"` // and so dead letters no more
	GivenUp   int            `json:"givenUp"`   // again
	Waiting   int            `json:"waiting"`   // for their turn, or for the subscriber
	State     string         `json:"state"`     // of the subscriber
}

// redeliverWait is how long an answer waits for what becomes of the letters.
const redeliverWait = 2 * time.Second

// redeliverAndWait begins a redelivery and returns what becomes of it while
// somebody waits.
func (d *dispatcher) redeliverAndWait(ctx context.Context, s Selection, dryRun bool) (result Redelivery, err error) {
	var r *redelivery
	look := func() { result, result.State = r.Redelivery, d.status().State }
	doErr := d.do(ctx, func() {
		if r, err = d.redeliver(s, dryRun); err == nil {
			look()
		}
	})
	if err = cmp.Or(doErr, err); err != nil {
		return Redelivery{}, err
	}
	limit := time.NewTimer(redeliverWait)
	defer limit.Stop()
	select {
	case <-r.done:
	case <-limit.C:
	case <-ctx.Done():
	case <-d.over:
	}
	d.do(ctx, look) // if that fails, the answer is what was known before
	return result, nil
}

// redelivery is a selection of dead letters on its way.
type redelivery struct {
	Redelivery
	rest []event.Sequence // not yet in the window
	done chan struct{}    // closed when none is waiting
}

// again is why a dead letter is in the window: who asked for it.
type again struct{ askedBy []*redelivery }

// Of dead letters that are delivered again, so many are in the window, and so
// many selections may wait.
const (
	againAtOnce = 4 * lanesAtOnce
	mostAsked   = 100
)

// redeliver begins to deliver the selected dead letters again.
//
// They come in order within their subject, behind what of it is in the window,
// and so never two of a subject at once; what came after them in the log may have
// been delivered before. It is forgotten by a restart: what was not taken is
// still a dead letter.
func (d *dispatcher) redeliver(s Selection, dryRun bool) (*redelivery, error) {
	r := &redelivery{done: make(chan struct{})}
	r.DryRun = dryRun
	switch {
	case s.Sequence == 0:
		r.rest = slices.Collect(d.letters.after(max(s.From, 1)-1, s.Reason))
	case d.letters.has(s.Sequence):
		r.rest = []event.Sequence{s.Sequence}
	default:
		return nil, ErrNoLetter
	}
	switch {
	case d.state.mode == modeStopped:
		return nil, ErrAskedToStop
	case len(d.asked) >= mostAsked && !dryRun:
		return nil, ErrBusy
	}
	if r.Matched = len(r.rest); r.Matched > 0 {
		r.First, r.Last = r.rest[0], r.rest[len(r.rest)-1]
	}
	if dryRun || r.Matched == 0 {
		r.rest = nil
		close(r.done)
		return r, nil
	}
	r.Waiting = r.Matched
	d.asked = append(d.asked, r)
	d.logger.Info("dead letters are delivered again", "count", r.Matched, "first", r.First, "last", r.Last)
	return r, nil
}

// settle takes note of what became of one of the letters.
func (r *redelivery) settle(delivered bool) {
	if delivered {
		r.Delivered++
	} else {
		r.GivenUp++
	}
	if r.Waiting--; r.Waiting == 0 {
		close(r.done)
	}
}

// readAgain moves dead letters that are to be delivered again into the window,
// as far as there is room.
func (d *dispatcher) readAgain() {
	for _, r := range d.asked {
		for len(r.rest) > 0 && len(d.again) < againAtOnce && d.window.bytes < windowBytes {
			q := r.rest[0]
			r.rest = r.rest[1:]
			if del := d.again[q]; del != nil {
				del.again.askedBy = append(del.again.askedBy, r)
				continue
			}
			if !d.letters.has(q) { // taken meanwhile
				r.settle(true)
				continue
			}
			letter, err := d.letter(q)
			line, ok := event.ReadLine(letter.Event)
			if err != nil || !ok {
				d.logger.Error("a dead letter cannot be delivered again", "sequence", q, "error", err)
				r.settle(false)
				continue
			}
			del := &delivery{sequence: q, id: letter.ID, line: letter.Event, deliveredBefore: untried, again: &again{[]*redelivery{r}}}
			d.again[q] = del
			d.window.add(del, d.laneOf(line))
		}
	}
	d.asked = slices.DeleteFunc(d.asked, func(r *redelivery) bool { return r.Waiting == 0 })
}

// refill puts the dead letters that are to be delivered again into a new window.
func (d *dispatcher) refill() {
	for _, q := range slices.Sorted(maps.Keys(d.again)) {
		old := d.again[q]
		del := &delivery{sequence: q, id: old.id, line: old.line, deliveredBefore: untried, again: old.again}
		d.again[q] = del
		d.window.add(del, old.lane.key)
	}
}

// settle tells who asked for a dead letter what became of it.
func (d *dispatcher) settle(del *delivery, delivered bool) {
	if del.again == nil {
		return
	}
	delete(d.again, del.sequence)
	for _, r := range del.again.askedBy {
		r.settle(delivered)
	}
}

// noLetter removes the dead letter of an event that was taken, however it came to
// be delivered again. A log that was rolled back has other events.
func (d *dispatcher) noLetter(del *delivery) {
	q := del.sequence
	if !d.letters.has(q) {
		return
	}
	if letter, err := d.letter(q); err == nil && letter.ID != del.id {
		return
	}
	if err := d.store.Remove(q); err != nil {
		d.logger.Error("a dead letter was delivered and could not be removed: it may be delivered again", "sequence", q, "error", err)
		return
	}
	d.letters.remove(q)
	d.logger.Info("a dead letter was delivered", "sequence", q)
}

// letter returns a dead letter with its event.
func (d *dispatcher) letter(q event.Sequence) (DeadLetter, error) {
	letter, err := d.store.Letter(q)
	if err == nil {
		err = complete(d.config.Log.Reader, &letter)
	}
	return letter, err
}

// complete reads the event of a dead letter from the log, if it is not there.
func complete(read readFunc, letter *DeadLetter) error {
	if letter.Event != nil {
		return nil
	}
	line, err := lineAt(read, letter.Sequence)
	letter.Event = line
	return err
}

// pageBytes is how large a page of dead letters may become, but for its last
// one.
const pageBytes = 1 << 20

// page returns the dead letters after a sequence with their events, up to limit
// of them and pageBytes; more tells whether others follow.
func (d *dispatcher) page(after event.Sequence, reason string, limit int) (page []DeadLetter, more bool, err error) {
	size := 0
	for q := range d.letters.after(after, reason) {
		if len(page) == limit || size >= pageBytes {
			return page, true, nil
		}
		letter, err := d.letter(q)
		if err != nil {
			return nil, false, fmt.Errorf("reading the dead letters of subscriber %s: %w", d.sub.Name, err)
		}
		page = append(page, letter)
		size += len(letter.Event)
	}
	return page, false, nil
}

// newestLetters returns the newest dead letters, and reads what was pushed out of
// that list and has come back into it.
func (d *dispatcher) newestLetters() []DeadLetter {
	l := &d.letters
	for len(l.newest) < min(listed, len(l.heads)) {
		letter, err := d.letter(l.heads[len(l.heads)-len(l.newest)-1].sequence)
		if err != nil {
			d.logger.Error("a dead letter cannot be read", "error", err)
			break
		}
		letter.Event = nil
		l.newest = slices.Insert(l.newest, 0, letter)
	}
	return append([]DeadLetter{}, l.newest...)
}
