package crashdisk

import (
	"maps"
	"slices"
)

// state is all that a disk holds: what processes see and what a crash leaves.
// It never changes; each operation makes another.
type state struct {
	seen  dir // names as processes see them
	disk  dir // names that are durable
	moves []move
	files map[int]*content
}

// dir maps names to inodes.
type dir struct{ names map[string]int }

// move is a change of names: one that appears (to), one that goes (from), or
// both.
type move struct {
	from, to string
	inode    int
}

// content is what one file holds. It never changes.
type content struct {
	seen    []byte // as processes see it
	disk    []byte // durable
	changes []change
}

// change is a write, a truncate to offset, or a reserve up to offset.
type change struct {
	truncate bool
	reserve  bool
	offset   int64
	data     []byte
	when     int // orders the changes of all files
}

func (s *state) with(inode int, c *content) *state {
	next := *s
	next.files = maps.Clone(s.files)
	if next.files == nil {
		next.files = map[int]*content{}
	}
	next.files[inode] = c
	return &next
}

func (s *state) moved(m move) *state {
	next := *s
	next.seen = s.seen.after(m, false)
	next.moves = append(slices.Clip(s.moves), m)
	return &next
}

func (s *state) dirSynced() *state {
	next := *s
	for _, m := range s.moves {
		next.disk = next.disk.after(m, false)
	}
	next.moves = nil
	return &next
}

func (s *state) dirDropped(f Fault) *state {
	next := *s
	for _, m := range s.moves[:min(f.Done, len(s.moves))] {
		next.disk = next.disk.after(m, false)
	}
	next.moves = nil
	if !f.Visible {
		next.seen = next.disk
	}
	return &next
}

// after returns the names after m. If the old name stays, a rename leaves both.
func (d dir) after(m move, oldStays bool) dir {
	names := maps.Clone(d.names)
	if names == nil {
		names = map[string]int{}
	}
	if m.from != "" && !(oldStays && m.to != "") {
		delete(names, m.from)
	}
	if m.to != "" {
		names[m.to] = m.inode
	}
	return dir{names}
}

func (c *content) changed(ch change) *content {
	return &content{seen: ch.apply(c.seen), disk: c.disk, changes: append(slices.Clip(c.changes), ch)}
}

func (c *content) synced() *content {
	b := replay(c.disk, c.changes)
	return &content{seen: c.seen, disk: b}
}

func (c *content) dropped(f Fault) *content {
	b := replay(c.disk, c.changes[:min(f.Done, len(c.changes))])
	seen := c.seen
	if !f.Visible {
		seen = b
	}
	return &content{seen: seen, disk: b}
}

// forgotten returns c as it is read from the disk. Its length stays: the kernel
// keeps that apart.
func (c *content) forgotten() *content {
	return &content{seen: resized(replay(c.disk, c.changes), int64(len(c.seen))), disk: c.disk, changes: c.changes}
}

func replay(b []byte, changes []change) []byte {
	for _, ch := range changes {
		b = ch.apply(b)
	}
	return b
}

// apply returns b after the change.
func (ch change) apply(b []byte) []byte {
	if ch.truncate {
		return resized(b, ch.offset)
	}
	if ch.reserve {
		return resized(b, max(int64(len(b)), ch.offset))
	}
	b = resized(b, max(int64(len(b)), ch.offset+int64(len(ch.data))))
	copy(b[ch.offset:], ch.data)
	return b
}

// resized returns a copy of b of that size, with zeroes at its end where b is
// shorter.
func resized(b []byte, size int64) []byte {
	c := make([]byte, size)
	copy(c, b)
	return c
}
