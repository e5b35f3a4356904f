package main

import (
	"slices"
	"strings"
)

// overrides are the characters that make a reader see letters in another order
// than they are stored in, whatever the letters are.
const overrides = "\u202d\u202e"

// maxDepth is how deep embeddings may nest (UAX #9, BD2); deeper ones have no
// effect.
const maxDepth = 125

// asShown returns text in the order in which a browser shows its letters, as
// far as right-to-left and left-to-right overrides change it (UAX #9, X1 to X8
// and L2). Embeddings and isolates without an override keep the order of
// letters that are written from left to right, which are the ones that an
// override can hide.
func asShown(text string) string {
	if !strings.ContainsAny(text, overrides) {
		return text
	}
	levels := []level{{}} // the line, and what is open in it
	ignored := 0          // openings that are too deep
	for _, r := range text {
		top := &levels[len(levels)-1]
		switch r {
		case '\u202a', '\u202b', '\u202d', '\u202e', '\u2066', '\u2067', '\u2068': // LRE RLE LRO RLO LRI RLI FSI
			if len(levels) > maxDepth {
				ignored++
				continue
			}
			levels = append(levels, level{rightToLeft: r == '\u202e', isolate: r >= '\u2066'})
		case '\u202c', '\u2069': // PDF, PDI
			isolate := r == '\u2069'
			switch {
			case ignored > 0:
				ignored--
			case isolate && slices.ContainsFunc(levels, func(l level) bool { return l.isolate }):
				for closed := false; !closed; { // with the embeddings in it that are open
					closed = levels[len(levels)-1].isolate
					levels = closeLast(levels)
				}
			case !isolate && len(levels) > 1 && !top.isolate:
				levels = closeLast(levels)
			}
		case '\n', '\u2029': // a paragraph ends
			for len(levels) > 1 {
				levels = closeLast(levels)
			}
			ignored = 0
			levels[0].letters = append(levels[0].letters, r)
		default:
			top.letters = append(top.letters, r)
		}
	}
	for len(levels) > 1 {
		levels = closeLast(levels)
	}
	return string(levels[0].letters)
}

// level is an embedding that is open: its letters in its own direction.
type level struct {
	letters              []rune
	rightToLeft, isolate bool
}

// closeLast puts the letters of the last level into the one around it.
func closeLast(levels []level) []level {
	last, around := levels[len(levels)-1], &levels[len(levels)-2]
	if last.rightToLeft != around.rightToLeft {
		slices.Reverse(last.letters)
	}
	around.letters = append(around.letters, last.letters...)
	return levels[:len(levels)-1]
}
