// Run starts the blog on this machine, as six processes, and stops them
// together. It is what "make run" runs. As a cluster (cluster.go) it has three
// buses and three NATS servers.
//
// Its law: no process outlives it, and one that dies is started again.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	c := config{out: newTerminal(os.Stdout)}
	flag.StringVar(&c.bin, "bin", "bin", "the `folder` that holds the programs")
	flag.StringVar(&c.data, "data", "data", "the `folder` for what they store")
	flag.IntVar(&c.shift, "shift", 0, "a `number` that is added to every port")
	flag.BoolVar(&c.cluster, "cluster", false, "run three buses on three NATS servers")
	flag.Parse()
	ctx, kill := stopSignals(c.out)
	if err := run(ctx, kill, c); err != nil {
		fmt.Fprintf(os.Stderr, "\n%v\n", err)
		os.Exit(1)
	}
}

// sameSignal is how long a further signal counts as the one before: make and
// the terminal may both pass on what was one Ctrl-C.
const sameSignal = time.Second

// stopSignals returns a context that ends when the blog is to stop, and one
// that ends when somebody lost patience with that.
func stopSignals(out *terminal) (stop, kill context.Context) {
	stop, doStop := context.WithCancel(context.Background())
	kill, doKill := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	go func() { // for as long as the program runs
		<-signals
		first := time.Now()
		out.say("\nStopping. Ctrl-C once more kills what still runs.")
		doStop()
		for range signals {
			if time.Since(first) > sameSignal {
				doKill()
			}
		}
	}()
	return stop, kill
}
