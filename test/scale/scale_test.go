package main

import (
	"testing"
	"time"
)

var quick = order{Name: "test", Group: 2 * time.Millisecond, Event: 10 * time.Microsecond, InFlight: 2, MostIn: 1000}

func TestFiguresAreInTheDocument(t *testing.T) {
	f, err := readFigures("../../docs/performance.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, tier := range tiers(f, assumptions{Events: 1e9, Years: 1, Peak: 10, Readers: 1e5, PageEvery: time.Minute, PerPost: 10, EventsComment: 3}) {
		if !(tier.Capacity > 0 && tier.Demand > 0 && tier.needed() >= 1) {
			t.Errorf("%+v", tier)
		}
	}
}

func TestSimulatedLogIsAsFastAsItsParts(t *testing.T) {
	alone := simulate(quick, 1, 1)
	if got, want := alone.quantile(0.5), quick.Group+quick.Event; got != want || alone.perGroup > 1.01 {
		t.Errorf("an event that is alone takes %v in groups of %g, want %v", got, alone.perGroup, want)
	}
	busy := simulate(quick, 0.9*quick.most(), 1)
	if busy.perGroup < 100 || busy.quantile(0.99) > 100*time.Millisecond {
		t.Errorf("at nine tenths: groups of %g, p99 %v", busy.perGroup, busy.quantile(0.99))
	}
	if over := simulate(quick, 1.2*quick.most(), 1); over.quantile(0.99) < 100*time.Millisecond {
		t.Errorf("with more than it can take, p99 is %v", over.quantile(0.99))
	}
	if limit := quick.limit(100*time.Millisecond, 1); limit < 0.8*quick.most() || limit > 1.03*quick.most() {
		t.Errorf("its limit is %g, at the very most %g", limit, quick.most())
	}
}

func TestDividingBringsWhatTheBusiestPostLeaves(t *testing.T) {
	one := quick.limit(100*time.Millisecond, 1)
	even := assumptions{ActivePosts: 100_000, Zipf: 0}
	if d := divide(quick, 4, even, one, 1); d.share < 0.25 || d.share > 0.26 {
		t.Errorf("equal posts: the busiest of four logs has %g", d.share)
	}
	uneven := assumptions{ActivePosts: 1000, Zipf: 2} // the first post has 61 % of the comments
	if d := divide(quick, 16, uneven, one, 1); d.share < 0.6 || d.limit > one/0.6 {
		t.Errorf("one post has 61 %%: the busiest log has %g, all together %g times one", d.share, d.limit/one)
	}
}
