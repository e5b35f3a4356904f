package projection

import (
	"errors"
	"log/slog"
	"time"
)

// What can go wrong, as it is logged.
const (
	busTrouble  = "the event bus cannot be followed; trying again until it can"
	diskTrouble = "events cannot be applied; trying again until they can"
)

// busError is an error of the bus, or on the way there. Any other is this machine's.
type busError struct{ error }

// Unwrap returns the error itself.
func (e busError) Unwrap() error { return e.error }

// ofBus marks an error as the bus's; nil stays nil.
func ofBus(err error) error {
	if err != nil {
		err = busError{err}
	}
	return err
}

// report logs what has gone wrong for longer than patience, once.
func (f *follower) report(err error) {
	trouble := diskTrouble
	if _, ok := errors.AsType[busError](err); ok {
		trouble = busTrouble
	}
	f.p.setFollowing(false)
	if f.since.IsZero() {
		f.since = time.Now()
	}
	if f.trouble != trouble && time.Since(f.since) > patience {
		f.trouble = trouble
		slog.Warn(trouble, "after", f.at(), "error", err)
	}
}

// at is how far the data is, as it is logged.
func (f *follower) at() string {
	_, at := f.p.position()
	return at.Sequence.String()
}

// recovered says that all is well again.
func (f *follower) recovered() {
	f.p.setFollowing(true)
	f.since = time.Time{}
	if f.trouble != "" {
		f.trouble = ""
		slog.Info("following the event bus again", "after", f.at())
	}
}
