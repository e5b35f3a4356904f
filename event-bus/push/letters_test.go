package push

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"miniblog/internal/event"
)

func TestLettersAreListedInOrderEachOnce(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 0))
	var l letters
	want := map[event.Sequence]string{}
	for range 20_000 {
		q := event.Sequence(1 + random.IntN(3*listed))
		if random.IntN(2) == 0 {
			l.remove(q)
			delete(want, q)
		} else {
			reason := fmt.Sprint(400 + random.IntN(3))
			l.add(DeadLetter{Sequence: q, Reason: reason, Event: []byte("{}")})
			want[q] = reason
		}
		all := slices.Sorted(maps.Keys(want))
		if got := slices.Collect(l.after(0, "")); !slices.Equal(got, all) {
			t.Fatalf("there are %d, want %d (seed %d)", got, all, seed)
		}
		newest := all[len(all)-len(l.newest):] // as many as are there: the owner reads the others back
		for i, letter := range l.newest {
			if letter.Sequence != newest[i] || letter.Event != nil || letter.Reason != want[newest[i]] {
				t.Fatalf("number %d of the %d newest is %+v, want %d (seed %d)", i, len(newest), letter, newest[i], seed)
			}
		}
		counts := map[string]int{}
		for _, reason := range want {
			counts[reason]++
		}
		if !maps.Equal(counts, l.counts) || len(l.newest) > listed {
			t.Fatalf("%d are listed, counted are %v, want %v (seed %d)", len(l.newest), l.counts, counts, seed)
		}
		if q := event.Sequence(random.IntN(3 * listed)); random.IntN(100) == 0 {
			all = slices.DeleteFunc(all, func(s event.Sequence) bool { return s <= q || want[s] != "401" })
			if got := slices.Collect(l.after(q, "401")); !slices.Equal(got, all) {
				t.Fatalf("after %d are %d, want %d (seed %d)", q, got, all, seed)
			}
		}
	}
}
