package main

import (
	"bytes"
	"fmt"
	"html"
	"math"
	"slices"
)

// The plot: a small panel for each thing that is measured, three in a row. All
// begin at zero and have their own unit, so that what does not depend on the
// length of the log is a flat line.
//
//	 unit
//	top ┤
//	    │            ●────● a name
//	    │   ●───●───
//	    │   ●───●───●────● another
//	  0 ┼───┴───┴───┴────┴
//	       10⁴ 10⁵ 10⁶ 10⁷
const (
	columns                 = 3
	panelWidth, panelHeight = 320, 232
	left, right             = 44, 24 // of the axes, within the panel
	above, below            = 72, 34
	axisWidth               = panelWidth - left - right
	axisHeight              = panelHeight - above - below
	head                    = 64 // above the panels
	margin                  = 16
)

const plotStyle = `
	svg { color-scheme: light dark; font: 12px system-ui, sans-serif; --back: #fff; --ink: #1f2328; --soft: #656d76; --line: #d8dee4; --a: #0969da; --b: #bc4c00; --c: #1a7f37 }
	@media (prefers-color-scheme: dark) { svg { --back: #0d1117; --ink: #e6edf3; --soft: #8d96a0; --line: #30363d; --a: #58a6ff; --b: #f0883e; --c: #56d364 } }
	.back { fill: var(--back) } text { fill: var(--ink) } .soft { fill: var(--soft); font-size: 11px }
	.head { font-size: 17px; font-weight: 600 } .title { font-size: 13px; font-weight: 600 }
	.end { text-anchor: end } .middle { text-anchor: middle }
	.grid { stroke: var(--line); stroke-width: 1; fill: none }
	.curve { stroke-width: 2; fill: none; stroke-linejoin: round }
	.a { stroke: var(--a) } .b { stroke: var(--b) } .c { stroke: var(--c) }
	.dot-a { fill: var(--a) } .dot-b { fill: var(--b) } .dot-c { fill: var(--c) }
`

// svg draws the plotted figures, for light and for dark pages.
func (g *growth) svg() []byte {
	panels := g.panels()
	for i := range panels {
		panels[i] = slices.DeleteFunc(panels[i], func(f *figure) bool { return !f.plotted })
	}
	rows := (len(panels) + columns - 1) / columns
	width, height := 2*margin+columns*panelWidth, head+rows*panelHeight+margin
	var out bytes.Buffer
	fmt.Fprintf(&out, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%[1]d" height="%[2]d" role="img">`+"\n", width, height)
	fmt.Fprintf(&out, "<title>How cost grows with the length of the log</title>\n<style>%s</style>\n", plotStyle)
	fmt.Fprintf(&out, `<rect class="back" width="%d" height="%d" rx="6"/>`+"\n", width, height)
	fmt.Fprintf(&out, `<text class="head" x="%d" y="32">How cost grows with the length of the log</text>`+"\n", margin+12)
	fmt.Fprintf(&out, `<text class="soft" x="%d" y="52">Across: events in the log, up: the figure, from zero. Flat is good.</text>`+"\n", margin+12)
	for i, figures := range panels {
		fmt.Fprintf(&out, `<g transform="translate(%d %d)">`+"\n", margin+i%columns*panelWidth, head+i/columns*panelHeight)
		g.panel(&out, figures)
		out.WriteString("</g>\n")
	}
	out.WriteString("</svg>\n")
	return out.Bytes()
}

// panel draws the curves of figures with one unit.
func (g *growth) panel(out *bytes.Buffer, figures []*figure) {
	fmt.Fprintf(out, `<text class="title" x="12" y="20">%s</text>`+"\n", html.EscapeString(figures[0].what))
	top := 0.0
	for _, f := range figures {
		for _, v := range f.values {
			if !math.IsNaN(v) {
				top = max(top, v)
			}
		}
	}
	top = roundUp(top)
	y := func(v float64) float64 { return above + axisHeight*(1-v/top) }
	for _, v := range []float64{0, top / 2, top} {
		fmt.Fprintf(out, `<path class="grid" d="M%d %.1fh%d"/><text class="soft end" x="%d" y="%.1f">%g</text>`+"\n", left, y(v), axisWidth, left-6, y(v)+4, v)
	}
	fmt.Fprintf(out, `<text class="soft" x="12" y="36">%s</text>`+"\n", html.EscapeString(figures[0].unit))
	for i, n := range g.sizes {
		fmt.Fprintf(out, `<text class="soft middle" x="%.1f" y="%d">%s</text>`+"\n", g.x(i), panelHeight-below+18, power(n))
	}
	key := ""
	for i, f := range figures {
		class := string("abc"[i%3])
		key += fmt.Sprintf(`<tspan class="dot-%s">●</tspan> %s &#160; `, class, html.EscapeString(f.of))
		g.curve(out, f, class, y)
	}
	if len(figures) > 1 {
		fmt.Fprintf(out, `<text class="soft" x="12" y="55">%s</text>`+"\n", key)
	}
}

// curve draws a figure; it leaves out the sizes at which there is no value.
func (g *growth) curve(out *bytes.Buffer, f *figure, class string, y func(float64) float64) {
	path, dots, step := "", "", "M"
	for i, v := range f.values {
		if math.IsNaN(v) {
			continue
		}
		path += fmt.Sprintf("%s%.1f %.1f", step, g.x(i), y(v))
		dots += fmt.Sprintf(`<circle class="dot-%s" cx="%.1f" cy="%.1f" r="3"><title>%s</title></circle>`, class, g.x(i), y(v), digits(v))
		step = "L"
	}
	fmt.Fprintf(out, `<path class="curve %s" d="%s"/>%s`+"\n", class, path, dots)
}

// x is where the size of an index is: at the logarithm of it.
func (g *growth) x(i int) float64 {
	if len(g.sizes) == 1 {
		return left + axisWidth/2
	}
	first, last := math.Log(float64(g.sizes[0])), math.Log(float64(g.sizes[len(g.sizes)-1]))
	const inset = 16
	return left + inset + (axisWidth-2*inset)*(math.Log(float64(g.sizes[i]))-first)/(last-first)
}

// roundUp returns the next number that halves well on an axis.
func roundUp(v float64) float64 {
	unit := math.Pow(10, math.Floor(math.Log10(max(v, 1e-9))))
	for _, step := range []float64{1, 2, 3, 4, 5, 6, 8} {
		if v <= step*unit {
			return step * unit
		}
	}
	return 10 * unit
}
