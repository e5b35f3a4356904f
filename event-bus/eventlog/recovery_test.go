package eventlog

import (
	"bytes"
	"errors"
	"hash/crc32"
	"maps"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/klauspost/compress/zstd"

	"miniblog/internal/disk"
	"miniblog/internal/disk/crashdisk"
	"miniblog/internal/event"
)

// traceUntil runs events through small segments and returns the trace up to
// the first step of that name, and what was promised until then.
func traceUntil(t *testing.T, step string) ([]crashdisk.Entry, *promise) {
	t.Helper()
	disk := crashdisk.New()
	w, err := openWorld(disk, disk, Options{SegmentBytes: 1 << 10})
	if err != nil {
		t.Fatal(err)
	}
	if err := inOrder(w, quoted(300), quoted(900), `"next"`); err != nil {
		t.Fatal(err)
	}
	if err := w.sealed(); err != nil {
		t.Fatal(err)
	}
	mustClose(t, w.log)
	trace := disk.Trace()
	end := slices.IndexFunc(trace, func(e crashdisk.Entry) bool { return e.What == step }) + 1
	if end == 0 {
		t.Fatalf("nothing did %q:\n%s", step, listed(trace))
	}
	p := &promise{}
	for _, e := range trace[:end] {
		if err := p.apply(e.Note); err != nil {
			t.Fatal(err)
		}
	}
	return trace[:end], p
}

// crashAllAt crashes at the last step of a trace in every way, and after that
// at every step of the recovery in every way, or thirty if there are more.
func crashAllAt(t *testing.T, trace []crashdisk.Entry, p *promise) {
	t.Helper()
	c := newCrasher(newRandom(t))
	c.ways, c.points = [depth]int{1e6, 30, 1}, [depth]int{0, 0, 1}
	if err := c.crash(trace[len(trace)-1:], p, 0, nil); err != nil {
		t.Fatal(err)
	}
}

// A process was killed when it had given a sealed segment its name, which was
// not durable yet; the next one removed the active form; the power failed.
func TestNameThatIsNotDurableIsNotReliedOn(t *testing.T) {
	trace, p := traceUntil(t, "rename "+sealedName(1)+disk.TempSuffix+" to "+sealedName(1))
	crashAllAt(t, trace, p)
}

// A full disk left a part of a batch at the end of a full segment, which was cut
// off; there was room for the next segment; the power failed before the cut was
// durable, and the end of a segment that is not the newest was torn.
func TestCutIsDurableBeforeTheNextSegmentBegins(t *testing.T) {
	disk := crashdisk.New()
	w, err := openWorld(disk, disk, Options{SegmentBytes: 1 << 10})
	if err != nil {
		t.Fatal(err)
	}
	noRoomFor := func(kind string, part int) {
		disk.Inject(func(op crashdisk.Op) *crashdisk.Fault {
			if op.Kind == kind {
				return &crashdisk.Fault{Err: syscall.ENOSPC, Done: part}
			}
			return nil
		})
	}
	noRoomFor("create", 0)
	if err := w.append(w.event(quoted(1000))); err != nil { // the segment is full, and no other can be made
		t.Fatal(err)
	}
	noRoomFor("write", 60)
	if err := w.append(w.event(quoted(100))); !errors.Is(err, ErrFull) {
		t.Fatal(err)
	}
	if err := until("the next segment did not begin", func() bool { _, n := w.log.Size(); return n == 2 }); err != nil {
		t.Fatal(err)
	}
	mustClose(t, w.log)
	p := &promise{}
	trace := disk.Trace()
	for _, e := range trace {
		if err := p.apply(e.Note); err != nil {
			t.Fatal(err)
		}
	}
	crashAllAt(t, trace, p)
}

// A first start stopped before the log's id had its name: the next start
// removed the half-written file twice, and failed.
func TestStartThatWasCutShortIsNoObstacle(t *testing.T) {
	trace, p := traceUntil(t, "create "+idFile+disk.TempSuffix)
	crashAllAt(t, trace, p)
}

// A process was killed when it had begun a segment whose name was not durable
// yet. The next one found the disk full and no room to begin it anew, and so went
// on with the old one; there was room for an event; the power failed.
func TestNameOfAnOldSegmentIsDurableBeforeItIsWrittenTo(t *testing.T) {
	trace, p := traceUntil(t, "rename "+activeName(1)+disk.TempSuffix+" to "+activeName(1))
	d := trace[len(trace)-1].Killed().Disk()
	d.Inject(func(op crashdisk.Op) *crashdisk.Fault {
		if op.Kind == "create" && strings.HasPrefix(op.Name, activeName(1)) {
			return &crashdisk.Fault{Err: syscall.ENOSPC}
		}
		return nil
	})
	w, err := openWorld(d, d, Options{SegmentBytes: 1 << 10})
	if err != nil {
		t.Fatalf("on a full disk a log that is whole does not open: %v", err)
	}
	if err := w.append(w.event(`"there is room"`)); err != nil {
		t.Fatal(err)
	}
	mustClose(t, w.log)
	after := d.Trace()
	for _, e := range after {
		if err := p.apply(e.Note); err != nil {
			t.Fatal(err)
		}
	}
	crashAllAt(t, after, p)
}

// diskWith returns a disk that holds a file, durably.
func diskWith(t testing.TB, name string, b []byte) *crashdisk.Disk {
	t.Helper()
	d := crashdisk.New()
	for name, b := range map[string][]byte{idFile: []byte(event.NewID() + "\n"), name: b} {
		if err := disk.Replace(d, name, b); err != nil {
			t.Fatal(err)
		}
	}
	return d.Copy()
}

// appendBatch appends a batch of one event to a segment's bytes.
func appendBatch(b []byte, sequence, durable event.Sequence) []byte {
	r := eventWithID(sequence.String(), `"text"`)
	line := append(r.Line.Append(nil, sequence), '\n')
	frame := newEncoder(zstd.SpeedFastest).EncodeAll(line, make([]byte, headerSize))
	data := frame[headerSize:]
	batchHeader{first: sequence, count: 1, durable: durable, dataLen: uint32(len(data)), rawLen: uint32(len(line)), dataCRC: crc32.Checksum(data, castagnoli)}.put(frame)
	return append(b, frame...)
}

// Where a batch does not hold, what follows it decides: a later batch that was
// written when this one was durable proves damage; one that was written before
// anybody knew proves nothing, and goes with the torn one.
func TestWhatFollowsAHoleDecides(t *testing.T) {
	first := appendBatch(nil, 1, 0)
	second := appendBatch(nil, 2, 1)
	hole := make([]byte, len(second))
	for name, c := range map[string]struct {
		after []byte
		want  int // events that survive; 0: refused
	}{
		"nothing":                               {nil, 1},
		"zeroes":                                {make([]byte, 4096), 1},
		"a whole batch that knows nothing":      {appendBatch(nil, 3, 1), 1},
		"two whole batches that know nothing":   {appendBatch(appendBatch(nil, 3, 1), 4, 1), 1},
		"an old batch, from a block used again": {first, 1},
		"a batch that proves it was durable":    {appendBatch(nil, 3, 2), 0},
		"the proof comes much later":            {appendBatch(make([]byte, 3<<20-20), 9, 8), 0},
	} {
		t.Run(name, func(t *testing.T) {
			disk := diskWith(t, activeName(1), slices.Concat(first, hole, c.after))
			l, err := open(disk, Options{Logger: quiet})
			var damage *Damage
			if c.want == 0 {
				if !errors.As(err, &damage) {
					t.Fatalf("opened with %v, want damage", err)
				}
				if damage.File != activeName(1) {
					t.Errorf("the damage is said to be in %s", damage.File)
				}
				if damage.Offset != int64(len(first)) {
					t.Errorf("the damage is said to be at byte %d, want %d", damage.Offset, len(first))
				}
				if damage.Event != 2 {
					t.Errorf("event %d is said to be damaged, want 2", damage.Event)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer mustClose(t, l)
			if got := len(readAll(t, l, 0)); got != c.want {
				t.Errorf("%d events survived, want %d", got, c.want)
			}
		})
	}
}

// A batch that is whole, in the place of another, is from a block that was used
// before, or was written when the one before it was not: it is not taken for the next.
func TestBatchInThePlaceOfAnotherIsCutOff(t *testing.T) {
	first := appendBatch(nil, 1, 0)
	for name, other := range map[string][]byte{"an older one": first, "a later one": appendBatch(nil, 3, 1)} {
		t.Run(name, func(t *testing.T) {
			l, err := open(diskWith(t, activeName(1), slices.Concat(first, other)), Options{Logger: quiet})
			if err != nil {
				t.Fatal(err)
			}
			defer mustClose(t, l)
			if last, got := l.Last(), len(readAll(t, l, 0)); last != 1 || got != 1 {
				t.Errorf("the log ends at %d and has %d events, want 1 and 1", last, got)
			}
		})
	}
}

// What is behind the last batch is room, and stays, or was never whole, and is
// cut off; which bytes were lost is said.
func TestUnwrittenEndIsToldFromATornOne(t *testing.T) {
	whole := appendBatch(appendBatch(nil, 1, 0), 2, 1)
	room := func(size, length int) []byte {
		return append(appendRoom(nil, int64(length)), make([]byte, size-roomHeader)...)
	}
	third := appendBatch(nil, 3, 2)
	for name, c := range map[string]struct {
		end  []byte
		torn int // -1: nothing, and the end stays
	}{
		"nothing":                                  {nil, -1},
		"room":                                     {room(100, 100), -1},
		"no more than the header of room":          {room(8, 8), -1},
		"room that says that it is longer":         {room(100, 101), 5},
		"room that says that it is shorter":        {room(100, 99), 5},
		"room and a byte that is not zero":         {append(room(100, 120), append(make([]byte, 19), 1)...), 120},
		"room beyond what is read at once":         {room(3<<20, 3<<20), -1},
		"room with a byte far behind":              {append(room(3<<20, 3<<20+1), 1), 3<<20 + 1},
		"the first bytes of a header of room":      {room(8, 100)[:3], 3},
		"zeroes, whose header never came":          {make([]byte, 100), 0},
		"a part of a batch, then the old room":     {append(third[:17:17], make([]byte, 100)...), 17},
		"a header of room, then a part of a batch": {append(room(8, len(third)), third[8:]...), len(third)},
	} {
		t.Run(name, func(t *testing.T) {
			d := diskWith(t, activeName(1), slices.Concat(whole, c.end))
			r, err := recoverLog(d)
			if err != nil {
				t.Fatal(err)
			}
			defer r.close()
			if s := r.segments[0]; s.last != 2 || s.size != int64(len(whole)) {
				t.Errorf("it holds events up to %d in %d bytes, want 2 in %d", s.last, s.size, len(whole))
			}
			want := slices.Concat(whole, c.end)
			if c.torn >= 0 {
				want = whole
			}
			if got := d.Files()[activeName(1)]; !bytes.Equal(got, want) {
				t.Errorf("of %d bytes %d are left, want %d", len(whole)+len(c.end), len(got), len(want))
			}
			if end := r.segments[0].end; end != int64(len(want)) {
				t.Errorf("the segment is thought to end at %d, and has %d bytes", end, len(want))
			}
			if want := int64(max(0, c.torn)); r.torn != want {
				t.Errorf("%d bytes are said to be torn, want %d", r.torn, want)
			}
		})
	}
}

// Only the newest segment is ever cut: what is missing of an older one was
// durable.
func TestOlderSegmentIsNeverCut(t *testing.T) {
	older := appendBatch(appendBatch(nil, 1, 0), 2, 1)
	for name, damage := range map[string]func([]byte) []byte{
		"its end is missing":             func(b []byte) []byte { return b[:len(b)-1] },
		"its newest batch is missing":    func(b []byte) []byte { return b[:len(b)/2] },
		"it is empty":                    func(b []byte) []byte { return nil },
		"a bit of its newest batch":      func(b []byte) []byte { b[len(b)-5] ^= 1; return b },
		"it has room":                    func(b []byte) []byte { return append(appendRoom(b, 512), make([]byte, 504)...) },
		"it is followed by zeroes":       func(b []byte) []byte { return append(b, make([]byte, 512)...) },
		"it goes on beyond the next one": func(b []byte) []byte { return appendBatch(b, 3, 2) },
	} {
		t.Run(name, func(t *testing.T) {
			d := diskWith(t, activeName(3), nil)
			if err := disk.Replace(d, activeName(1), damage(slices.Clone(older))); err != nil {
				t.Fatal(err)
			}
			before := d.Files()
			_, err := open(d, Options{Logger: quiet})
			var damaged *Damage
			if !errors.As(err, &damaged) {
				t.Fatalf("opened with %v", err)
			}
			if !maps.EqualFunc(before, d.Files(), bytes.Equal) {
				t.Error("a log that was refused was changed")
			}
		})
	}
}
