package push

import (
	"cmp"
	"slices"

	"miniblog/internal/event"
)

// letters knows which dead letters a subscriber has: some 24 bytes for each, and
// the newest ones without their events.
//
//   - heads is in order of sequence, each once, and counts is of their reasons.
//   - newest are the last ones of heads, listed at most: fewer after removals.
type letters struct {
	heads  []head
	counts map[string]int
	newest []DeadLetter
}

type head struct {
	sequence event.Sequence
	reason   string
}

// listed is how many of the newest dead letters are listed with a subscriber.
const listed = 100

// find returns where a letter is in heads, or would be.
func (l *letters) find(q event.Sequence) (int, bool) {
	return slices.BinarySearchFunc(l.heads, q, func(h head, q event.Sequence) int { return cmp.Compare(h.sequence, q) })
}

func (l *letters) has(q event.Sequence) bool {
	_, found := l.find(q)
	return found
}

// add takes note of a letter, in place of an earlier one of its event.
func (l *letters) add(letter DeadLetter) {
	l.remove(letter.Sequence)
	i, _ := l.find(letter.Sequence)
	l.heads = slices.Insert(l.heads, i, head{letter.Sequence, letter.Reason})
	if l.counts == nil {
		l.counts = map[string]int{}
	}
	l.counts[letter.Reason]++
	letter.Event = nil
	if at := i - (len(l.heads) - 1 - len(l.newest)); at >= 0 {
		l.newest = slices.Insert(l.newest, at, letter)
		l.newest = slices.Delete(l.newest, 0, max(0, len(l.newest)-listed))
	}
}

// remove forgets a letter; most of those that are removed are near the front.
func (l *letters) remove(q event.Sequence) {
	i, found := l.find(q)
	if !found {
		return
	}
	reason := l.heads[i].reason
	if l.counts[reason]--; l.counts[reason] == 0 {
		delete(l.counts, reason)
	}
	copy(l.heads[1:i+1], l.heads[:i])
	l.heads = l.heads[1:]
	l.newest = slices.DeleteFunc(l.newest, func(letter DeadLetter) bool { return letter.Sequence == q })
}

// after returns the letters after a sequence, of a reason if one is given.
func (l *letters) after(q event.Sequence, reason string) func(yield func(event.Sequence) bool) {
	i, found := l.find(q)
	if found {
		i++
	}
	return func(yield func(event.Sequence) bool) {
		for _, h := range l.heads[i:] {
			if (reason == "" || h.reason == reason) && !yield(h.sequence) {
				return
			}
		}
	}
}
