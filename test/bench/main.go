// Bench measures the blog beside a bare net/http handler in the same run, and
// prints a table.
//
// Its law: what is compared runs on the same machine, under the same load
// generator, one right after the other; a figure is a ratio wherever the
// machine would decide it otherwise.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"
)

// row is a figure: what was measured, what came out, what it is held against.
type row struct {
	what, figure, baseline, ratio, target string
	ok                                    bool
}

// options of a run.
type options struct {
	only   string
	length time.Duration
	events int

	growth bool
	sizes  []int
	plot   string

	markdown bool
}

func main() {
	var o options
	bare := flag.String("bare", "", "serve the bare handler at this address (the bench starts itself so)")
	flag.StringVar(&o.only, "only", "", "measure only the groups whose names contain this: "+strings.Join(groupNames(), ", "))
	flag.DurationVar(&o.length, "length", 4*time.Second, "how long each load runs")
	flag.BoolVar(&o.markdown, "markdown", false, "print the table in Markdown")
	flag.IntVar(&o.events, "events", 1_000_000, "how many events the history has")
	flag.BoolVar(&o.growth, "growth", false, "instead of all that, measure how the figures of the log grow with it: prints a table in Markdown and writes a plot")
	o.sizes = []int{1e4, 1e5, 1e6, 1e7}
	flag.Func("sizes", "with -growth: how many `events` the log has, ascending (default 10000,100000,1000000,10000000)", func(list string) (err error) {
		o.sizes, err = parseSizes(list)
		return err
	})
	flag.StringVar(&o.plot, "plot", "docs/growth.svg", "with -growth: the `file` of the plot")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	var err error
	if *bare != "" {
		err = serveBare(ctx, *bare)
	} else {
		err = run(ctx, o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// parseSizes parses ascending numbers with commas between them.
func parseSizes(list string) (sizes []int, err error) {
	for field := range strings.SplitSeq(list, ",") {
		n, err := strconv.Atoi(field)
		if err != nil {
			return nil, err
		}
		if n < 1 || len(sizes) > 0 && n <= sizes[len(sizes)-1] {
			return nil, errors.New("sizes must be above 0 and ascend")
		}
		sizes = append(sizes, n)
	}
	return sizes, nil
}

// serveBare answers "hello" to everything: the least that a net/http server does.
func serveBare(ctx context.Context, addr string) error {
	server := http.Server{Addr: addr, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		io.WriteString(w, "hello")
	})}
	go func() { <-ctx.Done(); server.Close() }()
	if err := server.ListenAndServe(); err != http.ErrServerClosed {
		return err
	}
	return nil
}

// group is a part of the bench that can be run alone. It begins and ends with
// no process running.
type group struct {
	name    string
	measure func(*bench, context.Context, options) error
}

var groups = []group{
	{"running", (*bench).everything},
	{"publish", (*bench).publishing},
	{"pages", (*bench).pages},
	{"history", (*bench).history},
	{"log", (*bench).log},
	{"followers", (*bench).followers},
	{"activity", (*bench).looking},
	{"push", (*bench).pushing},
	{"idle", (*bench).idle},
	{"cluster", (*bench).cluster},
}

func groupNames() (names []string) {
	for _, g := range groups {
		names = append(names, g.name)
	}
	return names
}

func run(ctx context.Context, o options) (err error) {
	dir, err := os.MkdirTemp(".", "bench-*") // a real disk; /tmp may be memory
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if dir, err = filepath.Abs(dir); err != nil {
		return err
	}
	b := &bench{dir: dir, addrs: map[string]string{}}
	defer b.stopAll()
	if o.growth {
		return b.growing(ctx, o)
	}
	for _, g := range groups {
		if !strings.Contains(g.name, o.only) {
			continue
		}
		fmt.Fprintf(os.Stderr, "measuring: %s\n", g.name)
		if err := g.measure(b, ctx, o); err != nil {
			return fmt.Errorf("%s: %w", g.name, err)
		}
		b.stopAll()
		b.addrs = map[string]string{}
		if err := os.RemoveAll(dir + "/data"); err != nil {
			return err
		}
	}
	if o.markdown {
		b.printMarkdown(os.Stdout)
	} else {
		b.print(os.Stdout)
	}
	return nil
}

func (b *bench) print(out io.Writer) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "what\tfigure\tbaseline\tratio\ttarget\t")
	for _, r := range b.rows {
		mark := ""
		if !r.ok {
			mark = "MISSED"
		}
		fmt.Fprintln(w, strings.Join([]string{r.what, r.figure, r.baseline, r.ratio, r.target, mark}, "\t"))
	}
	w.Flush()
}

func (b *bench) printMarkdown(out io.Writer) {
	fmt.Fprint(out, "| what | figure | beside | ratio | target | |\n|---|---|---|---|---|---|\n")
	for _, r := range b.rows {
		mark := "✓"
		if !r.ok {
			mark = "missed"
		}
		fmt.Fprintf(out, "| %s | %s | %s | %s | %s | %s |\n", r.what, r.figure, r.baseline, r.ratio, r.target, mark)
	}
}

// rate adds a row that compares a rate with the bare handler's. Without a
// target, 0, it is there to be read.
func (b *bench) rate(what string, got, bare measured, atLeast float64) {
	ratio := got.perSecond() / bare.perSecond()
	target := "–"
	if atLeast > 0 {
		target = fmt.Sprintf("≥ %.2f", atLeast)
	}
	b.rows = append(b.rows, row{
		what:   what,
		figure: got.String(), baseline: fmt.Sprintf("%.0f/s bare", bare.perSecond()),
		ratio: fmt.Sprintf("%.2f", ratio), target: target, ok: ratio >= atLeast,
	})
}

// bound adds a row for a figure that has a bound of its own.
func (b *bench) bound(what, figure, target string, ok bool) {
	b.rows = append(b.rows, row{what: what, figure: figure, target: target, ok: ok})
}

func median(list []time.Duration) time.Duration {
	slices.Sort(list)
	return list[len(list)/2]
}
