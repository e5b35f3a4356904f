package soak

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"miniblog/test/harness"
)

// What a process may take at the end beyond its baseline. Connections that are
// kept alive, to it and from it, come and go: some of each of its few callers.
// A reader, a request or a change of the log that left something behind would have
// done so hundreds of times.
const moreConnections = 16

// mostMemory is how much a process may hold that held so much after its first
// minute: the heap at rest is anything from what is used to what the collector
// waits for, and indexes and caches grow with the blog to their own limits.
func mostMemory(baseline int64) int64 { return baseline*3/2 + 16<<20 }

// life is one life of a process.
type life struct {
	began    time.Time
	baseline *usage // nil in its first minute
}

// usage is what a process takes.
type usage struct {
	goroutines, descriptors int
	memory                  int64 // bytes, resident
}

// measure asks a process that runs.
func measure(t *testing.T, p *harness.Process) (u usage, err error) {
	t.Helper()
	answer, err := harness.Send(t.Context(), http.MethodGet, p.URL+"/metrics", "")
	if err != nil {
		return u, err
	}
	for name, value := range map[string]*int{"go_goroutines": &u.goroutines, "process_open_fds": &u.descriptors} {
		_, after, _ := strings.Cut(string(answer.Body), "\n"+name+" ")
		if _, err := fmt.Sscan(after, value); err != nil {
			return u, fmt.Errorf("%s has no %s in its metrics: %w", p.Name, name, err)
		}
	}
	u.memory = harness.Memory(t, p)
	return u, nil
}

// takeBaselines measures the processes that have lived for firstMinute and have
// no baseline yet. The least of some measurements counts: the round that has just
// ended takes a moment to be over.
func (s *soak) takeBaselines(firstMinute time.Duration) {
	var due []*harness.Process
	for p, l := range s.lives {
		if l.baseline == nil && time.Since(l.began) >= firstMinute {
			due = append(due, p)
		}
	}
	if len(due) == 0 {
		return
	}
	for range 5 {
		for _, p := range due {
			u, err := measure(s.t, p)
			if err != nil {
				s.t.Fatal(err)
			}
			if l := s.lives[p]; l.baseline == nil {
				l.baseline = &u
			} else {
				*l.baseline = usage{min(l.baseline.goroutines, u.goroutines), min(l.baseline.descriptors, u.descriptors), min(l.baseline.memory, u.memory)}
			}
		}
		time.Sleep(time.Second)
	}
}

func (s *soak) haveBaselines() bool {
	for _, l := range s.lives {
		if l.baseline == nil {
			return false
		}
	}
	return true
}

// check waits until every process takes no more than it did after its first
// minute, prints what each takes, and fails the test for those that do not.
func (s *soak) check() {
	var ends map[*harness.Process]usage
	const patience = 5 * time.Minute // of the collector, which returns memory at its leisure
	deadline := time.Now().Add(patience)
	var grown []string
	for {
		ends, grown = map[*harness.Process]usage{}, nil
		for _, p := range s.Processes() {
			end, err := measure(s.t, p)
			if err != nil {
				s.t.Fatal(err)
			}
			ends[p] = end
			base := s.lives[p].baseline
			for name, of := range map[string][3]int64{
				"goroutines":      {int64(base.goroutines), int64(end.goroutines), int64(base.goroutines) + moreConnections},
				"descriptors":     {int64(base.descriptors), int64(end.descriptors), int64(base.descriptors) + moreConnections},
				"bytes of memory": {base.memory, end.memory, mostMemory(base.memory)},
			} {
				if of[1] > of[2] {
					grown = append(grown, fmt.Sprintf("%s had %d %s after its first minute and has %d at the end, more than %d", p.Name, of[0], name, of[1], of[2]))
				}
			}
		}
		if len(grown) == 0 || time.Now().After(deadline) {
			break
		}
		time.Sleep(time.Second)
	}
	for _, sentence := range grown {
		s.t.Error(sentence)
	}
	s.t.Log(s.table(ends))
}

// table also fails the test for a process that took more than its pod has.
func (s *soak) table(ends map[*harness.Process]usage) string {
	var text strings.Builder
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(w, "\nprocess\tlived\tgoroutines\tat the end\tdescriptors\tat the end\tMiB\tat the end\tpeak\tof its pod\t\n")
	for _, p := range s.Processes() {
		base, end := s.lives[p].baseline, ends[p]
		peak, most := harness.PeakMemory(s.t, p), harness.LimitsOf(s.t, p.Name).Memory
		if peak >= most {
			s.t.Errorf("%s took %d MiB; its pod has %d", p.Name, peak>>20, most>>20)
		}
		fmt.Fprintf(w, "%s\t%v\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t\n", p.Name, time.Since(s.lives[p].began).Round(time.Second),
			base.goroutines, end.goroutines, base.descriptors, end.descriptors, base.memory>>20, end.memory>>20, peak>>20, most>>20)
	}
	w.Flush()
	return text.String()
}
