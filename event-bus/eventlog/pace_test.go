package eventlog

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/klauspost/compress/zstd"

	"miniblog/internal/disk/crashdisk"
	"miniblog/internal/event"
)

const (
	syncTakes  = 400 * time.Microsecond
	roundTrip  = 60 * time.Microsecond // from an answer to the next request
	paceRounds = 40
)

// paced runs publishers, each of whom publishes again roundTrip after it was
// answered, on a disk whose syncs take syncTakes, by a clock of its own. It
// returns how long that took and how many syncs.
func paced(t *testing.T, publishers int) (took time.Duration, syncs int) {
	shared := newEncoder(zstd.SpeedFastest) // made out here: the clock does not know it
	shared.EncodeAll(nil, nil)
	before := fastEncoders.New
	fastEncoders.New = func() any { return shared }
	defer func() { fastEncoders.New = before }()
	decoder()
	synctest.Test(t, func(t *testing.T) {
		d := crashdisk.New()
		w, err := openWorld(d, d, Options{})
		if err != nil {
			t.Fatal(err)
		}
		d.Inject(func(op crashdisk.Op) *crashdisk.Fault {
			if op.Kind == "sync" {
				syncs++
				time.Sleep(syncTakes)
			}
			return nil
		})
		begun := time.Now()
		var wg sync.WaitGroup
		for range publishers {
			wg.Go(func() {
				for range paceRounds {
					if _, err := w.log.Append(t.Context(), []event.Line{w.event("").Line}); err != nil {
						t.Error(err)
						return
					}
					time.Sleep(roundTrip)
				}
			})
		}
		wg.Wait()
		took = time.Since(begun)
		mustClose(t, w.log)
	})
	return took, syncs
}

// Who publishes alone waits for its syncs and for nothing else.
func TestNobodyIsWaitedForWithOnePublisher(t *testing.T) {
	took, syncs := paced(t, 1)
	if want := paceRounds * (syncTakes + roundTrip); took != want || syncs != paceRounds {
		t.Errorf("%d events took %v and %d syncs, want %v and %d", paceRounds, took, syncs, want, paceRounds)
	}
}

// Publishers who come back soon share their syncs: hardly anybody misses one by a
// moment and waits for the next.
func TestPublishersWhoComeBackAreWaitedFor(t *testing.T) {
	for _, publishers := range []int{2, 3, 8, 100} {
		took, syncs := paced(t, publishers)
		const rounds = paceRounds * 4 / 3 // some until all are in step; without waiting there are twice as many
		if syncs > rounds {
			t.Errorf("%d publishers: %d rounds took %d syncs, want %d at most", publishers, paceRounds, syncs, rounds)
		}
		if most := rounds * (syncTakes + roundTrip); took > most {
			t.Errorf("%d publishers: %d rounds took %v, want %v at most", publishers, paceRounds, took, most)
		}
	}
}

// Those who wait never lose more by it than the others gain.
func TestWaitIsNeverLongerThanItIsWorth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := Pace{round: syncTakes}
		for _, c := range []struct {
			group, waiting, n int
			want              time.Duration
		}{
			{1, 0, 1, 0},                 // alone
			{1, 1, 1, syncTakes / 2},     // one for one
			{2, 0, 1, syncTakes / 2},     // of two who were answered one is back
			{90, 10, 10, syncTakes / 2},  // most are missing
			{90, 10, 80, syncTakes / 4},  // 80 wait for 20
			{90, 10, 99, syncTakes / 99}, // all for one
			{90, 10, 100, 0},             // all are there
		} {
			p.Answered(c.group, c.waiting)
			if got := p.worth(c.n); got != c.want {
				t.Errorf("%d wait, %d were served and %d waited: it is worth %v, want %v", c.n, c.group, c.waiting, got, c.want)
			}
		}
		time.Sleep(syncTakes / 2)
		if got := p.worth(1); got > 0 {
			t.Errorf("half a sync after the answer it is worth another %v", got)
		}
	})
}

// A clock that was set back stopped sealing until it had caught up: when the
// sealer may go on must not depend on it.
func TestSealingDoesNotDependOnTheClock(t *testing.T) {
	begun := time.Now()
	w := newWorld(t, Options{})
	if err := w.together(4); err != nil { // who waits makes the sealer give way
		t.Fatal(err)
	}
	if until := time.Duration(w.log.busyUntil.Load()); until <= 0 || until > time.Since(begun)+busyFor {
		t.Errorf("the sealer gives way until %v after the start", until)
	}
}

// The best level of zstd takes a processor for long: whoever publishes meanwhile
// would wait for it.
func TestSealingBesidePublishersIsCheap(t *testing.T) {
	w := newWorld(t, Options{})
	for _, published := range []bool{false, true, false} {
		if published {
			if err := w.together(1); err != nil {
				t.Fatal(err)
			}
		}
		encoders, err := w.log.giveWay(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if want := map[bool]*sync.Pool{false: &smallestEncoders, true: &smallEncoders}[published]; encoders != want {
			t.Errorf("published since the last frame %v: the next one is not encoded as it should", published)
		}
	}
}
