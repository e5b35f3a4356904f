package eventlog

import (
	"bytes"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"miniblog/internal/disk"
	"miniblog/internal/disk/crashdisk"
)

var (
	exhaustive = flag.Bool("exhaustive", false, "crash at every point in every way, not in a random choice of them; takes many minutes")
	seedFlag   = flag.Uint64("seed", 0, "seed of random choices, to repeat a run; 0 takes a new one")
)

// A log that is opened thousands of times a second seals with the encoder that
// has the smallest tables: what it writes differs in nothing but its size.
func init() {
	fastest := func() any { return newEncoder(zstd.SpeedFastest) }
	smallestEncoders.New, smallEncoders.New = fastest, fastest
}

// newRandom returns a source of random choices and says how to repeat them.
func newRandom(t *testing.T) *rand.Rand {
	seed := *seedFlag
	for seed == 0 {
		seed = rand.Uint64N(1 << 32)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the choices were made with -seed=%d", seed)
		}
	})
	return rand.New(rand.NewPCG(seed, 0))
}

// depth is how often a crash follows on a crash.
const depth = 3

// crasher crashes a disk at the points of a trace, opens the log on what is
// left, and compares it with what was promised.
type crasher struct {
	random *rand.Rand
	mutate func(disk.Folder) disk.Folder
	points [depth]int // crash points of a trace at each depth, at random; 0 is all
	ways   [depth]int // crashes at each point; if there are more, at random
	lives  int        // one in so many logs is written to after it was opened
	states int        // disks that were opened
}

func newCrasher(random *rand.Rand) *crasher {
	c := &crasher{random: random, mutate: honest, points: [depth]int{0, 1, 1}, ways: [depth]int{6, 1, 1}, lives: 8}
	if *exhaustive {
		c.points, c.ways, c.lives = [depth]int{0, 4, 2}, [depth]int{2000, 1, 1}, 4
	}
	return c
}

// crash crashes at the points of a trace; p is what was promised before it.
func (c *crasher) crash(trace []crashdisk.Entry, p *promise, level int, trail []string) error {
	p = p.clone()
	chosen := c.choose(len(trace), c.points[level])
	opened := map[string]bool{}
	for i, e := range trace {
		if e.Note != nil {
			if err := p.apply(e.Note); err != nil {
				return fail(trail, trace[:i+1], err)
			}
		}
		if !chosen[i] {
			continue
		}
		for _, way := range e.Crashes(c.ways[level], c.random) {
			disk := way.Disk()
			key := fmt.Sprint(disk.Fingerprint(), p.told, p.saved, p.id)
			if opened[key] {
				continue // with as much promised
			}
			opened[key] = true
			step := fmt.Sprintf("%s\n%s", listed(trace[:i+1]), way)
			if err := c.survive(disk, p, level, append(trail, step)); err != nil {
				return err
			}
		}
	}
	return nil
}

// choose returns n of the indices below of at random, all if n is 0.
func (c *crasher) choose(of, n int) map[int]bool {
	chosen := map[int]bool{}
	for _, i := range c.random.Perm(of) {
		if n > 0 && len(chosen) == n {
			break
		}
		chosen[i] = true
	}
	return chosen
}

func listed(trace []crashdisk.Entry) string {
	var b strings.Builder
	for _, e := range trace {
		fmt.Fprintf(&b, "  %.200s\n", e.What)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// fail says what was not kept and which way led there.
func fail(trail []string, trace []crashdisk.Entry, err error) error {
	return fmt.Errorf("%s\nNOT KEPT: %w", strings.Join(append(trail, listed(trace)), "\nthen\n"), err)
}

// survive opens the log on a disk after a crash. It must hold what was
// promised, and life must go on.
func (c *crasher) survive(disk *crashdisk.Disk, p *promise, level int, trail []string) error {
	c.states++
	before := p
	p = p.clone()
	err := func() error {
		if err := p.cursorKept(disk); err != nil {
			return err
		}
		w, err := openWorld(disk, c.mutate(disk), Options{SegmentBytes: 1 << 10})
		if err != nil {
			return fmt.Errorf("the log does not open: %w", err)
		}
		w.count = 1000 * (level + 1) // other ids than before the crash
		defer func() { w.log.Close() }()
		if err := p.holds(w); err != nil {
			return err
		}
		if c.random.IntN(c.lives) == 0 {
			return c.liveOn(w, p)
		}
		return nil
	}()
	trace := disk.Trace()
	if err = errors.Join(err, disk.Broken()); err != nil {
		return fail(trail, trace, err)
	}
	if level+1 < depth {
		return c.crash(trace, before, level+1, trail)
	}
	return nil
}

// holds reads the log. From then on all that it holds is promised.
func (p *promise) holds(w *world) error {
	lines, err := p.kept(w.log)
	if err != nil {
		return err
	}
	seen := noteSeen{lines}
	w.disk.Note(seen)
	if err := p.apply(seen); err != nil {
		return err
	}
	return w.nothingTorn()
}

// nothingTorn makes sure that behind the batches of the active segment there is
// nothing but room, and that any zstd decoder reads the file as its events.
func (w *world) nothingTorn() error {
	w.log.mu.Lock()
	active := w.log.activeLocked()
	name, size, events := active.name, active.size, int(active.last+1-active.first)
	w.log.mu.Unlock()
	file := w.disk.Files()[name]
	if len(file) > int(size) {
		end := file[size:]
		room := binary.LittleEndian.AppendUint32([]byte{0x5D, 0x2A, 0x4D, 0x18}, uint32(len(end)-8))
		if !bytes.Equal(end, append(room, make([]byte, max(0, len(end)-8))...)) {
			return fmt.Errorf("%s goes on behind its batches, from byte %d to %d, with %.60q", name, size, len(file), end)
		}
	}
	lines, err := decoder().DecodeAll(file, nil)
	if err != nil {
		return fmt.Errorf("%s is no zstd: %w", name, err)
	}
	if n := bytes.Count(lines, newline); n != events {
		return fmt.Errorf("%s decodes to %d lines and holds %d events", name, n, events)
	}
	return nil
}

// liveOn publishes on, across a roll and a seal, and once more what was not
// acknowledged; then the log must open again as it was, to the byte.
func (c *crasher) liveOn(w *world, p *promise) error {
	for _, call := range p.tried {
		if err := w.append(call.records...); err != nil {
			return err
		}
		break
	}
	if err := w.append(w.event(quoted(900))); err != nil {
		return err
	}
	if err := w.append(w.event(quoted(400)), w.event(`"and on"`)); err != nil {
		return err
	}
	if err := w.sealed(); err != nil {
		return err
	}
	for _, e := range w.disk.Trace() {
		if err := p.apply(e.Note); err != nil {
			return err
		}
	}
	if err := p.holds(w); err != nil {
		return fmt.Errorf("after life went on: %w", err)
	}
	if err := w.log.Close(); err != nil {
		return err
	}
	return w.reopensAsItWas(p)
}

// reopensAsItWas opens the closed log again, which must change no byte.
func (w *world) reopensAsItWas(p *promise) error {
	before := w.disk.Files()
	if err := w.open(); err != nil {
		return fmt.Errorf("it does not open again: %w", err)
	}
	if err := p.holds(w); err != nil {
		return fmt.Errorf("after it was opened again: %w", err)
	}
	after := w.disk.Files()
	for name := range after {
		if !bytes.Equal(before[name], after[name]) {
			return fmt.Errorf("opening it again changed %s from %d to %d bytes", name, len(before[name]), len(after[name]))
		}
	}
	if len(before) != len(after) {
		return fmt.Errorf("opening it again left %d of %d files", len(after), len(before))
	}
	return nil
}

func TestNothingPromisedIsLostAtAnyCrashPoint(t *testing.T) {
	for _, wl := range workloads {
		t.Run(wl.name, func(t *testing.T) {
			t.Parallel()
			c := newCrasher(newRandom(t))
			if wl.large && *exhaustive {
				c.ways[0] = 200
			} else if wl.large {
				c.points[0], c.ways[0] = 8, 4
			}
			trace, err := wl.record(honest)
			if err != nil {
				t.Fatal(err)
			}
			if err := c.crash(trace, &promise{}, 0, nil); err != nil {
				t.Fatal(err)
			}
			t.Logf("%d crash points, %d disks opened", len(trace), c.states)
		})
	}
}
