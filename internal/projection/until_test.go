package projection_test

import (
	"errors"
	"testing"
	"time"

	"miniblog/internal/bus/bustest"
	"miniblog/internal/fault"
	"miniblog/test/wait"
)

// TestWhatIsNotHereIsMissingOnlyIfTheBusSaysSo: while the bus is away, the log may
// hold what this copy lacks.
func TestWhatIsNotHereIsMissingOnlyIfTheBusSaysSo(t *testing.T) {
	b := bustest.New(t)
	v := start(t, b, t.TempDir())
	missing := func() (bool, error) {
		return v.UntilRow(t.Context(), time.Millisecond, "SELECT 1 FROM posts WHERE id = 'nobody'")
	}
	wait.For(t, "that the bus says what there is", func() bool {
		reached, err := missing()
		return !reached && err == nil
	})
	b.Stop()
	wait.For(t, "that the bus is missed", func() bool { _, err := missing(); return err != nil })
	var f *fault.Fault
	if reached, err := missing(); reached || !errors.As(err, &f) || f.Kind != fault.Unavailable {
		t.Errorf("the bus is away: %v, %v", reached, err)
	}
}
