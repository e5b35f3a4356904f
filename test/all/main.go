// Testall runs the tests of this module and says what they came to: which
// packages passed, what failed and how, and what was skipped and is therefore
// not checked. With -fuzz it runs every fuzz target for a while instead.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	fuzzTime := flag.Duration("fuzz", 0, "run every fuzz target for this `long`, and no tests")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	run := runTests
	if *fuzzTime > 0 {
		run = func(ctx context.Context, packages []string) error { return fuzz(ctx, packages, *fuzzTime) }
	}
	if err := run(ctx, flag.Args()); err != nil {
		fmt.Fprintf(os.Stderr, "\nFAILED: %v\n", err)
		os.Exit(1)
	}
}

// goCommand returns a go command that gets a chance to clean up when ctx ends.
func goCommand(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Stderr = os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	return cmd
}
