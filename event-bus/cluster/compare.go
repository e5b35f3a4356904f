package cluster

import (
	"context"
	"time"
)

// Copies compare what they have, for the stream may have given one of them
// something else (rotten blocks on a minority of the servers are not always
// healed), or one may have a fault of its own.
//
// A barrier is a point: every copy notes what it had applied there. Each message
// states the newest point of its sender, and every copy holds that against its
// own. Who differs from most is wrong and stops; the others go on. Where there is
// no majority, as between two copies, and none comes, both stop.

const (
	// defaultCompareEvery is how soon what was applied is stated, if events come.
	defaultCompareEvery = time.Minute
	// pointsKept is how many points a copy can compare.
	pointsKept = 1024
	// heardFor is for how many of these intervals a copy is counted after what it
	// stated last, and undecidedFor for how many a tie is borne.
	heardFor     = 20
	undecidedFor = 5
)

// witness is what another copy's newest comparable statement says.
type witness struct {
	agrees bool
	at     time.Time
}

// comparison is what a copy knows of the others; it is Log's, under its mu.
type comparison struct {
	points    []applied // the newest last
	stated    applied   // the newest that this copy has stated
	witnesses map[string]witness
	tiedSince time.Time // zero: there is a majority
}

// pointLocked notes what was applied with a barrier.
func (l *Log) pointLocked(at applied) {
	if l.points = append(l.points, at); len(l.points) > 2*pointsKept {
		l.points = append([]applied{}, l.points[pointsKept:]...)
	}
}

// newestPointLocked returns what the next message states.
func (l *Log) newestPointLocked() (at applied) {
	if n := len(l.points); n > 0 {
		at = l.points[n-1]
	}
	return at
}

// compare holds what another copy states against what this one had there. Its
// error says that this copy is wrong.
func (l *Log) compare(copy string, other applied) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if copy == l.name {
		return nil
	}
	for i := len(l.points) - 1; i >= 0 && l.points[i].Message >= other.Message; i-- {
		own := l.points[i]
		if own.Message != other.Message {
			continue
		}
		if own != other {
			l.config.Logger.Error("two copies of the log differ", "message", own.Message, "other", copy,
				"events", own.Sequence, "checksum", own.Checksum, "othersEvents", other.Sequence, "othersChecksum", other.Checksum)
		}
		l.witnesses[copy] = witness{own == other, time.Now()}
	}
	return l.judgeLocked(time.Now())
}

// judgeLocked returns an error if this copy differs from most, or from as many
// as it agrees with for too long.
func (l *Log) judgeLocked(now time.Time) error {
	agree, differ := 1, 0
	for _, w := range l.witnesses {
		switch {
		case now.Sub(w.at) > heardFor*l.config.CompareEvery:
		case w.agrees:
			agree++
		default:
			differ++
		}
	}
	switch {
	case differ < agree:
		l.tiedSince = time.Time{}
	case differ > agree:
		return stopf("this copy differs from %d others, which agree with one another; its folder must be emptied, so that it reads the stream again", differ)
	case l.tiedSince.IsZero():
		l.tiedSince = now
	case now.Sub(l.tiedSince) > undecidedFor*l.config.CompareEvery:
		return stopf("copies of the log differ, and there is no majority to say which is right: compare them with the stream (event-bus export), and empty the folder of the wrong one")
	}
	return nil
}

// state sends a barrier now and then until this copy has stated all that it has.
func (l *Log) state(ctx context.Context) {
	for pause(ctx, l.config.CompareEvery) {
		l.mu.Lock()
		unstated := l.stated.Sequence < l.current.Sequence
		err := l.judgeLocked(time.Now())
		l.mu.Unlock()
		if err != nil {
			l.fail(err)
			return
		}
		if unstated {
			l.enqueue(ctx, nil, answerWithin) // without servers, the next round does it
		}
	}
}
