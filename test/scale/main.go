// Scale says how far the blog goes and what stops it next: go run ./test/scale
//
// It measures what an order of events costs on this machine, takes the speed of
// everything else from docs/performance.md, reckons what a blog of a given size
// needs of each, and simulates one log under load, and several between which the
// posts are divided. docs/scale.md tells what follows.
//
// Its law: no number is invented. What is measured says where, and what is
// assumed is a flag.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"text/tabwriter"
	"time"
)

// assumptions describe the blog that is reckoned with.
type assumptions struct {
	Events        float64       // in the log
	Years         float64       // in which they come
	Peak          float64       // the busiest hour, in averages
	Readers       float64       // at once, each following live
	PageEvery     time.Duration // how often a reader loads the page
	PerPost       float64       // comments
	EventsComment float64       // events that a comment becomes
	ActivePosts   int           // posts that are commented on at the same time
	Zipf          float64       // the k-th most commented post gets 1/k^Zipf
	Latency       time.Duration // what 99 of 100 publications may take at most
}

func main() {
	a := assumptions{PerPost: 10, EventsComment: 3} // as the bench's data, docs/performance.md
	flag.Float64Var(&a.Events, "events", 1e9, "events in the log")
	flag.Float64Var(&a.Years, "years", 1, "years in which they come")
	flag.Float64Var(&a.Peak, "peak", 10, "how many times the average the busiest hour has")
	flag.Float64Var(&a.Readers, "readers", 1e5, "readers at once")
	flag.DurationVar(&a.PageEvery, "page-every", time.Minute, "how often each loads the page")
	flag.IntVar(&a.ActivePosts, "active", 10_000, "posts that are commented on at the same time")
	flag.Float64Var(&a.Zipf, "zipf", 1, "the k-th most commented of these gets 1/k^zipf of the comments")
	flag.DurationVar(&a.Latency, "latency", 100*time.Millisecond, "what 99 of 100 publications may take")
	document := flag.String("performance", "docs/performance.md", "the `file` with the measured figures")
	seed := flag.Uint64("seed", 1, "of the simulation")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	slog.SetDefault(slog.New(slog.NewTextHandler(io.Discard, nil)))
	if err := run(ctx, os.Stdout, a, *document, *seed); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer, a assumptions, document string, seed uint64) error {
	figures, err := readFigures(document)
	if err != nil {
		return err
	}
	fmt.Fprintln(out, "Measuring what an order costs; some 20 s.")
	alone, err := measureAlone(ctx)
	if err != nil {
		return fmt.Errorf("measuring the log of one machine: %w", err)
	}
	cluster, err := measureCluster(ctx)
	if err != nil {
		return fmt.Errorf("measuring the log of a cluster: %w", err)
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	section := func(title string) { fmt.Fprintf(w, "\n%s\n", title) }

	section("1. The order of events, measured now on this machine")
	fmt.Fprintf(w, "\ta group takes\tand each event\tin flight\tone alone\tat most\n")
	for _, o := range []order{alone, cluster} {
		fmt.Fprintf(w, "%s\t%v\t%v\t%d\t%v\t%s events/s\n", o.Name, o.Group.Round(10*time.Microsecond), o.Event.Round(10*time.Nanosecond), o.InFlight, (o.Group + o.Event).Round(10*time.Microsecond), round(o.most()))
	}

	section(fmt.Sprintf("2. %s events in %g years (%s/s on average, %s/s in the busiest hour), %s readers", round(a.Events), a.Years, round(a.average()), round(a.busiest()), round(a.Readers)))
	fmt.Fprintf(w, "tier\tone has (docs/performance.md)\tis asked for\tso many are needed\n")
	for _, t := range tiers(figures, a) {
		fmt.Fprintf(w, "%s\t%s %s\t%s\t%s\n", t.Name, round(t.Capacity), t.Unit, round(t.Demand), round(t.needed()))
	}
	section("   and in bytes and seconds")
	for _, s := range sizes(figures, a) {
		fmt.Fprintf(w, "%s\t%s\n", s.Name, s.Text)
	}

	section("3. One log under load (simulated): publications of one event each")
	fmt.Fprintf(w, "\tevents/s\tevents a group\tmedian\tp99\n")
	limits := map[string]float64{}
	for _, o := range []order{alone, cluster} {
		limits[o.Name] = o.limit(a.Latency, seed)
		for _, share := range []float64{0.01, 0.1, 0.5, 0.9, 1} {
			r := simulate(o, share*limits[o.Name], seed)
			fmt.Fprintf(w, "%s\t%s\t%s\t%v\t%v\n", o.Name, round(share*limits[o.Name]), round(r.perGroup), r.quantile(0.5), r.quantile(0.99))
		}
	}

	section(fmt.Sprintf("4. Posts divided over several such clusters by subject (simulated): %d posts at a time, zipf %g", a.ActivePosts, a.Zipf))
	one := limits[cluster.Name]
	fmt.Fprintf(w, "logs\tthe busiest has\tp99 ≤ %v up to\tgain\tgroups/s for %s events/s\tp99 of a write to all, then\n", a.Latency, round(one/2))
	for _, logs := range []int{1, 2, 4, 8, 16} {
		d := divide(cluster, logs, a, one, seed)
		fmt.Fprintf(w, "%d\t%.0f %%\t%s events/s\t%.1f\t%s\t%v\n", logs, 100*d.share, round(d.limit), d.limit/one, round(d.groups), d.all)
	}
	fmt.Fprintf(w, "Each query still applies the events of all logs: %s/s, as long as it has not been divided too.\n", round(1e7/figures.JoinTen))
	return w.Flush()
}
