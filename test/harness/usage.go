package harness

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// Limits is what a pod of infra/k8s may take.
type Limits struct {
	Memory     int64  // bytes, after which the kernel ends it
	GOMEMLIMIT string // what Go is told
}

// LimitsOf returns the limits that infra/k8s gives to a program.
func LimitsOf(t testing.TB, program string) (l Limits) {
	t.Helper()
	root, err := Root()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(root, "infra", "k8s", program+"-depl.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := bytes.Cut(text, []byte("name: GOMEMLIMIT"))
	_, after, _ = bytes.Cut(after, []byte("value: "))
	value, after, _ := bytes.Cut(after, []byte("\n"))
	_, after, _ = bytes.Cut(after, []byte("limits:"))
	_, after, _ = bytes.Cut(after, []byte("memory: "))
	memory, _, found := bytes.Cut(after, []byte("Mi\n"))
	l.GOMEMLIMIT = string(value)
	mebibytes, err := strconv.ParseInt(string(memory), 10, 64)
	if err != nil || !found || l.GOMEMLIMIT == "" {
		t.Fatalf("the limits of %s are not where they were in infra/k8s: %v", program, err)
	}
	l.Memory = mebibytes << 20
	return l
}

// PeakMemory returns the most resident memory that a process, which must run,
// has had so far, in bytes. It skips the test where the system does not say.
func PeakMemory(t testing.TB, p *Process) int64 { return memory(t, p, "VmHWM:") }

// Memory returns the resident memory of a process, which must run, in bytes. It
// skips the test where the system does not say.
func Memory(t testing.TB, p *Process) int64 { return memory(t, p, "VmRSS:") }

func memory(t testing.TB, p *Process, field string) int64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.Pid()))
	if err != nil {
		p.MustBeAlive()
		t.Skipf("SKIPPED: this system does not say what a process holds: %v", err)
	}
	_, after, _ := strings.Cut(string(text), field)
	var kibibytes int64
	if _, err := fmt.Sscanf(after, "%d kB", &kibibytes); err != nil {
		t.Fatalf("%s of %s: %v", field, p.Name, err)
	}
	return kibibytes << 10
}
