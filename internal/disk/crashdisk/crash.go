package crashdisk

import (
	"cmp"
	"fmt"
	"hash/maphash"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
)

// sector is what a disk writes at once, in bytes.
const sector = 512

// small is the length up to which a write is torn at every byte.
const small = 512

// Entry is a point of a trace: something that was done with the disk, or a note
// of its user.
type Entry struct {
	What  string
	Note  any // not nil: a note
	state *state
}

// Note puts a note into the trace, such as what was promised to whom.
func (d *Disk) Note(note any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.trace = append(d.trace, Entry{What: fmt.Sprint(note), Note: note, state: d.now})
}

// Trace returns what was done so far.
func (d *Disk) Trace() []Entry {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.trace)
}

// Crash is one way in which a crash at a point of a trace may leave the disk.
type Crash struct {
	state   *state
	killed  bool // only the process is gone
	moves   subset
	changes subset
	torn    int // the change that is torn, -1 if none is
	cut     int // where
	fill    fill
	both    bool // a rename leaves both names
}

// fill says what is in place of what is missing of a torn write.
type fill int

const (
	short   fill = iota // nothing: the old bytes, and the file ends there if they do
	zeroes              // the length came, the data did not
	garbage             // anything
	stale               // bytes that once were in this file
	late                // the end came and the beginning did not
	hole                // one sector did not come
	fills
)

func (f fill) String() string {
	return [...]string{"old bytes", "zeroes", "garbage", "stale bytes", "its end only", "a hole"}[f]
}

// String says what the crash leaves.
func (c Crash) String() string {
	if c.killed {
		return "the process is killed"
	}
	s := fmt.Sprintf("names: %s; data: %s", c.moves, c.changes)
	if c.both {
		s += "; renames leave both names"
	}
	if c.torn >= 0 {
		w := c.state.unsynced()[c.torn]
		if w.reserve {
			return s + fmt.Sprintf("; room reserved for %d of %d bytes", c.cut, w.offset)
		}
		s += fmt.Sprintf("; the write [%d,%d) torn at its byte %d, with %s", w.offset, w.offset+int64(len(w.data)), c.cut, c.fill)
	}
	return s
}

// subset is a choice among n things: where there are few any choice, else the
// first k or all but one.
type subset struct {
	n, k   int
	choice byte // b: the bits of k, f: the first k, o: all without k
}

func (s subset) has(i int) bool {
	switch s.choice {
	case 'b':
		return s.k>>i&1 == 1
	case 'f':
		return i < s.k
	}
	return i != s.k
}

func (s subset) String() string {
	if s.n == 0 {
		return "all durable"
	}
	var b strings.Builder
	for i := range s.n {
		b.WriteByte("-+"[map[bool]int{true: 1}[s.has(i)]])
	}
	return b.String()
}

func all(n int) subset  { return subset{n, n, 'f'} }
func none(n int) subset { return subset{n, 0, 'f'} }

// subsets returns the choices among n things: none and all of them first.
func subsets(n int) []subset {
	if n == 0 {
		return []subset{all(0)}
	}
	list := []subset{none(n), all(n)}
	if n <= 4 {
		for k := 1; k < 1<<n-1; k++ {
			list = append(list, subset{n, k, 'b'})
		}
		return list
	}
	for k := 1; k < n; k++ {
		list = append(list, subset{n, k, 'f'})
	}
	for k := range n - 1 {
		list = append(list, subset{n, k, 'o'})
	}
	return list
}

// pending is a change that was not synced, and whose it is.
type pending struct {
	change
	inode int
}

// unsynced returns all changes of files that were not synced, in order.
func (s *state) unsynced() (list []pending) {
	for inode, c := range s.files {
		for _, ch := range c.changes {
			list = append(list, pending{ch, inode})
		}
	}
	slices.SortFunc(list, func(a, b pending) int { return cmp.Compare(a.when, b.when) })
	return list
}

// Killed returns the crash at e that takes only the process: the next one sees
// all that was done, and what was not synced is still not durable.
func (e Entry) Killed() Crash {
	m, n := len(e.state.moves), len(e.state.unsynced())
	return Crash{state: e.state, moves: all(m), changes: all(n), torn: -1, killed: true}
}

// Crashes returns every way in which a crash at e may leave the disk, or limit
// of them if there are more: a kill of the process, nothing that was not synced,
// all data without the names, and others at random; a few are all at random.
func (e Entry) Crashes(limit int, random *rand.Rand) []Crash {
	changes := e.state.unsynced()
	m, n := len(e.state.moves), len(changes)
	whole := Crash{state: e.state, torn: -1}
	var list []Crash
	for _, moves := range subsets(m) {
		for _, kept := range subsets(n) {
			c := whole
			c.moves, c.changes = moves, kept
			list = append(list, c)
		}
	}
	certain := min(2, len(list)) // nothing, and all data without the names
	if m+n > 0 {
		list = slices.Insert(list, 0, e.Killed())
		certain++
	}
	if slices.ContainsFunc(e.state.moves, func(m move) bool { return m.from != "" && m.to != "" }) {
		for _, kept := range subsets(n) {
			c := whole
			c.moves, c.changes, c.both = all(m), kept, true
			list = append(list, c)
		}
	}
	list = append(list, torn(whole, m, changes)...)
	if len(list) <= limit {
		return list
	}
	if limit <= certain {
		certain = 0
	}
	rest := list[certain:]
	random.Shuffle(len(rest), func(i, j int) { rest[i], rest[j] = rest[j], rest[i] })
	return list[:limit]
}

// torn returns the crashes that tear one of the changes: with and without the
// others, with and without the new names.
func torn(whole Crash, moves int, changes []pending) (list []Crash) {
	n := len(changes)
	for i, ch := range changes {
		others := []subset{all(n)}
		if n > 1 {
			others = append(others, subset{n, i + 1, 'f'})
		}
		names := []subset{all(moves)}
		if moves > 0 {
			names = append(names, none(moves))
		}
		for _, cut := range cuts(ch.change) {
			for fill := range fills {
				if ch.reserve && fill != short {
					continue // there is nothing in it
				}
				if !ch.reserve && cut == 0 && fill != zeroes && fill != garbage && fill != hole || fill == hole && len(ch.data) <= sector {
					continue // not written at all, or written whole, or as zeroes
				}
				for _, kept := range others {
					for _, moves := range names {
						c := whole
						c.moves, c.changes, c.torn, c.cut, c.fill = moves, kept, i, cut, fill
						list = append(list, c)
					}
				}
			}
		}
	}
	return list
}

// cuts returns where a write is torn: at every byte while it is small, at the
// disk's sectors and the bytes around its ends when it is large. Of room that
// was reserved some sectors may be there.
func cuts(ch change) (at []int) {
	if ch.reserve {
		for k := sector; int64(k) < ch.offset; k *= 2 {
			at = append(at, k)
		}
		return at
	}
	n := len(ch.data)
	if n <= small {
		for k := range n {
			at = append(at, k)
		}
		return at
	}
	at = []int{0, 1, 47, 48, 49, n - 1}
	for k := sector - int(ch.offset%sector); k < n; k += sector {
		at = append(at, k)
	}
	return at
}

// Disk returns the disk as the crash leaves it, with a trace of its own.
func (c Crash) Disk() *Disk {
	d := restarted(c.state)
	if !c.killed {
		d.now = c.remains()
	}
	return d
}

// Copy returns a disk like d, with a trace of its own.
func (d *Disk) Copy() *Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	return restarted(d.now)
}

func restarted(s *state) *Disk {
	d := &Disk{now: s}
	for inode, content := range s.files {
		d.inodes = max(d.inodes, inode)
		for _, ch := range content.changes {
			d.clock = max(d.clock, ch.when)
		}
	}
	return d
}

// remains returns what is on the disk, without anything that is not durable.
func (c Crash) remains() *state {
	names := c.state.disk
	for i, m := range c.state.moves {
		if c.moves.has(i) {
			names = names.after(m, c.both)
		}
	}
	data := map[int][]byte{}
	for inode, content := range c.state.files {
		data[inode] = content.disk
	}
	for i, ch := range c.state.unsynced() {
		switch {
		case i == c.torn:
			data[ch.inode] = c.tear(data[ch.inode], ch)
		case c.changes.has(i):
			data[ch.inode] = ch.apply(data[ch.inode])
		}
	}
	s := &state{seen: names, disk: names, files: map[int]*content{}}
	for _, inode := range names.names {
		s.files[inode] = &content{seen: data[inode], disk: data[inode]}
	}
	return s
}

// tear returns b after a part of the write ch.
func (c Crash) tear(b []byte, ch pending) []byte {
	if ch.reserve {
		return resized(b, max(int64(len(b)), int64(c.cut)))
	}
	first, rest := ch.change, ch.change
	first.data, rest.data = ch.data[:c.cut], ch.data[c.cut:]
	rest.offset += int64(c.cut)
	other := make([]byte, len(rest.data))
	switch c.fill {
	case short:
		return first.apply(b)
	case garbage:
		random := rand.New(rand.NewPCG(uint64(c.cut), uint64(c.torn)))
		for i := range other {
			other[i] = byte(random.Uint32())
		}
	case stale:
		if once := c.state.files[ch.inode].seen; len(once) > 0 {
			for i := range other {
				other[i] = once[i%len(once)]
			}
		}
	case late:
		return rest.apply(b)
	case hole:
		end := min(c.cut+sector-int((ch.offset+int64(c.cut))%sector), len(ch.data))
		rest.data, rest.offset = ch.data[end:], ch.offset+int64(end)
		return rest.apply(first.apply(b))
	}
	rest.data = other
	return rest.apply(first.apply(b))
}

var seed = maphash.MakeSeed()

// Fingerprint returns a number that stands for all that the disk holds; what
// is not durable is part of it.
func (d *Disk) Fingerprint() uint64 {
	var h maphash.Hash
	h.SetSeed(seed)
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.now
	for _, dir := range []dir{s.seen, s.disk} {
		for _, name := range slices.Sorted(maps.Keys(dir.names)) {
			content := s.files[dir.names[name]]
			fmt.Fprintf(&h, "%s %d %d %d\n", name, len(content.seen), len(content.disk), len(content.changes))
			h.Write(content.seen)
			h.Write(content.disk)
		}
	}
	return h.Sum64()
}
