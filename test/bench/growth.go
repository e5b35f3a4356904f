package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"strings"
	"time"

	"miniblog/internal/event"
)

// growth is what the same things cost with logs of several lengths.
type growth struct {
	sizes   []int // events in the log, ascending
	figures []*figure
}

// figure is a thing that is measured at each size: a row of the table, and a
// curve of the panel that has the name of what is measured.
type figure struct {
	what, of, unit string
	plotted        bool
	values         []float64 // one a size; NaN where there is none
}

// add adds the value of a figure at the next size.
func (g *growth) add(what, of, unit string, value float64) *figure {
	fmt.Fprintf(os.Stderr, "  %s\t%s\t%s %s\n", what, of, digits(value), unit)
	for _, f := range g.figures {
		if f.what == what && f.of == of && f.unit == unit {
			f.values = append(f.values, value)
			return f
		}
	}
	f := &figure{what: what, of: of, unit: unit, values: []float64{value}}
	g.figures = append(g.figures, f)
	return f
}

// plot is add for a figure that is plotted.
func (g *growth) plot(what, of, unit string, value float64) {
	g.add(what, of, unit, value).plotted = true
}

// growing measures a log as it grows, prints the table and writes the plot.
// What would make the log longer is measured on a copy of it.
func (b *bench) growing(ctx context.Context, o options) error {
	g := growth{sizes: o.sizes}
	bus, err := b.start(ctx, "event-bus", "growth", noSubscribers(b.dir))
	if err != nil {
		return err
	}
	from, filled := newBlog(8), 0
	for _, n := range g.sizes {
		fmt.Fprintf(os.Stderr, "filling the log to %d events\n", n)
		if err := b.fill(ctx, bus, from, n-filled); err != nil {
			return err
		}
		filled = n
		if err := waitSealed(ctx, b.data("event-bus", "growth")); err != nil {
			return err
		}
		for _, measure := range []func(*bench, context.Context, *process, int, options) error{
			g.publishing, g.reading, g.storing, g.joining,
		} {
			if err := measure(b, ctx, bus, n, o); err != nil {
				return fmt.Errorf("with %d events: %w", n, err)
			}
		}
	}
	g.printMarkdown(os.Stdout)
	if err := os.WriteFile(o.plot, g.svg(), 0o644); err != nil {
		return err
	}
	b.stopAll()
	return b.crowds(ctx, o, os.Stdout)
}

// publishing opens a copy of the log and publishes into that. The bus must have
// nothing to write.
func (g *growth) publishing(b *bench, ctx context.Context, _ *process, _ int, o options) error {
	const data = "growth-copy"
	if err := os.RemoveAll(b.data("event-bus", data)); err != nil {
		return err
	}
	if err := os.CopyFS(b.data("event-bus", data), os.DirFS(b.data("event-bus", "growth"))); err != nil {
		return err
	}
	bus, took, err := b.reopen(ctx, "event-bus", data, noSubscribers(b.dir))
	if err != nil {
		return err
	}
	defer bus.stop()
	opened, _ := bus.memory()
	one, err := singles(bus, event.PostCreated, 64, o.length).run(ctx)
	if err != nil {
		return err
	}
	inBatches, err := batches(bus, newBlog(2), o.length).run(ctx)
	if err != nil {
		return err
	}
	g.plot("Publish", "batches of 1,000", "thousand events/s", inBatches.perSecond()*batchEvents/1e3)
	g.plot("Publish", "one a request, 64 connections", "thousand events/s", one.perSecond()/1e3)
	g.plot("Ready after start", "event-bus", "ms", milliseconds(took))
	g.plot("Memory", "bus, opened", "MB", opened)
	return nil
}

// reading reads all of the log, and single events of it.
func (g *growth) reading(b *bench, ctx context.Context, bus *process, n int, _ options) error {
	grown := make(map[string]float64)
	for _, f := range forms {
		before, _ := bus.memory()
		got, err := f.readAll(ctx, bus)
		if err != nil {
			return err
		}
		what := "Read all of it, decoded"
		if f.encoding == "zstd" {
			what = "Read all of it, as it is on disk"
		}
		g.plot(what, f.name, "million events/s", float64(n)/1e6/got.took.Seconds())
		grown[f.name] = max(0, got.highest-before)
	}
	waits, err := lookUps(ctx, bus.addr, n)
	if err != nil {
		return err
	}
	g.plot("Read one event anywhere", "p50", "ms", milliseconds(median(waits)))
	g.plot("Read one event anywhere", "p99", "ms", milliseconds(waits[len(waits)*99/100]))
	for _, f := range forms {
		g.plot("Memory of the bus while all of it is read", f.name, "MB more", grown[f.name])
	}
	_, highest := bus.memory()
	g.plot("Memory", "bus, at most so far", "MB", highest)
	return nil
}

// storing looks at the files.
func (g *growth) storing(b *bench, _ context.Context, _ *process, n int, _ options) error {
	disk, err := segmentsIn(b.data("event-bus", "growth"))
	if err != nil {
		return err
	}
	g.plot("On disk", "all segments", "bytes an event", float64(disk.bytes)/float64(n))
	g.plot("On disk", "sealed segments", "bytes an event", float64(disk.sealed)/float64(disk.sealedEvents))
	return nil
}

// joining lets a query with an empty disk catch up.
func (g *growth) joining(b *bench, ctx context.Context, bus *process, n int, _ options) error {
	query, err := b.join(ctx, bus)
	if err != nil {
		return err
	}
	g.add("An empty query joins", "", "s", query.took.Seconds())
	g.plot("An empty query joins", "", "thousand events/s", float64(n)/1e3/query.took.Seconds())
	g.add("An empty query joins", "beside one that is ready", "s", query.copied.took.Seconds())
	g.plot("Memory", "query, joining", "MB", query.highest)
	g.plot("Ready after start", "query, restarted", "ms", milliseconds(query.again))
	return nil
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1e3 }

// printMarkdown prints a row a figure, a column a size.
func (g *growth) printMarkdown(out io.Writer) {
	fmt.Fprint(out, "| events in the log |")
	for _, n := range g.sizes {
		fmt.Fprintf(out, " %s |", power(n))
	}
	fmt.Fprint(out, "\n|---|", strings.Repeat("---:|", len(g.sizes)), "\n")
	for _, what := range g.panels() {
		for _, f := range what {
			fmt.Fprintf(out, "| %s, %s |", strings.TrimSuffix(f.what+": "+f.of, ": "), f.unit)
			for _, v := range f.values {
				fmt.Fprintf(out, " %s |", digits(v))
			}
			fmt.Fprintln(out)
		}
	}
}

// panels returns the figures by what they are about, in the order in which that
// was first measured.
func (g *growth) panels() (panels [][]*figure) {
	place := make(map[string]int)
	for _, f := range g.figures {
		at, known := place[f.what]
		if !known {
			at = len(panels)
			place[f.what], panels = at, append(panels, nil)
		}
		panels[at] = append(panels[at], f)
	}
	return panels
}

// digits writes a value to three digits, as far as these are before or right
// after the point.
func digits(v float64) string {
	switch {
	case math.IsNaN(v):
		return "–"
	case v >= 99.95:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case v >= 9.995:
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	return strconv.FormatFloat(v, 'f', 2, 64)
}

// power writes a power of ten as such: 10⁴.
func power(n int) string {
	decimal := strconv.Itoa(n)
	zeros := strings.TrimPrefix(decimal, "1")
	if strings.Trim(zeros, "0") != "" || len(zeros) == len(decimal) {
		return decimal
	}
	exponent := ""
	for _, digit := range strconv.Itoa(len(zeros)) {
		exponent += string([]rune("⁰¹²³⁴⁵⁶⁷⁸⁹")[digit-'0'])
	}
	return "10" + exponent
}
