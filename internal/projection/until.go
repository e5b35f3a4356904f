package projection

import (
	"context"
	"math"
	"time"

	"miniblog/internal/fault"
)

// Arrival is how long to wait, at most, for what is not in this copy's data but may
// be in another's already.
const Arrival = time.Second

// wordWait is how long to wait longer, at most, for a word of the bus: it says how
// far it is once a second.
const wordWait = time.Second

// unasked is later than any time: a bus that has to be asked says nothing by itself.
const unasked = math.MaxInt64

// errNoWord is the answer where the log may hold what this copy lacks.
var errNoWord = &fault.Fault{Kind: fault.Unavailable,
	Detail: "This copy may lack what the log holds at the moment, so it may not know what the request names. Try again in a moment."}

// Until waits until holds is true of the data, for as long as limit. reached is
// false only if holds was false of all that the log had when Until was called: the
// bus has said since how far it is. Where it has not, Until waits a little longer,
// and its error is a fault, Unavailable.
func (p *Projection) Until(ctx context.Context, limit time.Duration, holds func(*Tx) (bool, error)) (reached bool, err error) {
	began := time.Now()
	late, word := time.NewTimer(limit), time.NewTimer(limit+wordWait)
	defer late.Stop()
	defer word.Stop()
	for {
		changed := p.waiting.next()
		complete := p.heardSince(began) // before the data is read
		err = p.Read(ctx, func(tx *Tx) (err error) {
			reached, err = holds(tx)
			return err
		})
		if reached || err != nil {
			return reached, err
		}
		if time.Since(began) >= limit {
			if complete {
				return false, nil
			}
			if !p.following.Load() || time.Since(began) >= limit+wordWait {
				return false, errNoWord
			}
		}
		select {
		case <-changed:
		case <-late.C:
		case <-word.C:
		case <-ctx.Done():
			return false, ctx.Err()
		}
	}
}

// UntilRow is Until a query, whose first column is a number, has a row.
func (p *Projection) UntilRow(ctx context.Context, limit time.Duration, query string, args ...any) (reached bool, err error) {
	return p.Until(ctx, limit, func(tx *Tx) (bool, error) { return tx.Get(query, args, new(int64)) })
}

// hear notes that the bus has just said how far it is, and that this was applied.
// Those who wait are told if that was all it said; else they were told of the rest.
func (p *Projection) hear(only bool) {
	p.heard.Store(time.Now().UnixNano())
	if only {
		p.waiting.wake(p.Checkpoint())
	}
}

// heardSince tells whether the data held all that the log had at that time.
func (p *Projection) heardSince(then time.Time) bool {
	return p.following.Load() && p.heard.Load() > then.UnixNano()
}
