package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"miniblog/event-bus/eventlog"
	"miniblog/event-bus/move"
	"miniblog/internal/service"
)

const usage = `usage:
  event-bus               run the service
  event-bus verify DIR    read a whole log and say whether it holds
  event-bus dump DIR      print every event, a line each
  event-bus repair DIR    give up everything from the first damage on; what is
                          given up is kept in DIR/damaged-*
  event-bus import DIR    put the log in DIR into the stream of the servers of
                          NATS_URL, by way of a copy in DATA_DIR
  event-bus export DIR    write the log to a new folder, from the copy in
                          DATA_DIR: to the stream's end with NATS_URL, else as it is
The event bus must not be running on DIR or DATA_DIR.
`

// command works on the log in dir, which is there but for export.
type command func(ctx context.Context, env *service.Env, dir string, out io.Writer) error

var commands = map[string]command{
	"verify": onLog(verify), "dump": onLog(dump), "repair": onLog(repair),
	"import": importLog, "export": exportLog,
}

// onLog is the command that needs nothing but a log.
func onLog(do func(dir string, out io.Writer) error) command {
	return func(_ context.Context, _ *service.Env, dir string, out io.Writer) error {
		if err := findLog(dir); err != nil {
			return err
		}
		return do(dir, out)
	}
}

func importLog(ctx context.Context, env *service.Env, dir string, out io.Writer) error {
	config := logConfig(env)
	if err := env.Err(); err != nil {
		return err
	}
	if config.Servers == "" {
		return errors.New("NATS_URL must say into which servers' stream the log is to go")
	}
	if err := findLog(dir); err != nil {
		return err
	}
	own, err := os.Stat(config.Dir)
	other, err2 := os.Stat(dir)
	if err == nil && err2 == nil && os.SameFile(own, other) {
		return fmt.Errorf("DATA_DIR=%q: this is the log to import; name the folder that this bus is to keep its copy in", config.Dir)
	}
	return move.Import(ctx, config, dir, out)
}

// exportLog brings the copy in DATA_DIR to the stream's end first, unless there
// is no NATS_URL.
func exportLog(ctx context.Context, env *service.Env, dir string, out io.Writer) error {
	config := logConfig(env)
	if err := env.Err(); err != nil {
		return err
	}
	if config.Servers == "" {
		if err := findLog(config.Dir); err != nil {
			return err
		}
	}
	from, err := openLog(ctx, config, thisProcess())
	if err != nil {
		return err
	}
	defer from.Close()
	return move.Export(ctx, from, dir, out)
}

// offline runs a command on a log that no service has open, and returns the
// exit code: 0 all is well, 1 it is not, 2 the command is not understood.
func offline(args []string, lookup func(string) (string, bool), out, errs io.Writer) int {
	if len(args) != 2 || commands[args[0]] == nil {
		fmt.Fprint(errs, usage)
		return 2
	}
	name, dir := args[0], args[1]
	if err := commands[name](context.Background(), service.NewEnv(lookup), dir, out); err != nil {
		fmt.Fprintf(errs, "event-bus %s: %v\n", name, withCure(dir, err))
		return 1
	}
	return 0
}

// findLog tells whether dir holds a log: of a folder that is another one
// nobody should hear that all is well.
func findLog(dir string) error {
	files, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, f := range files {
		if strings.HasSuffix(f.Name(), ".zst") {
			return nil
		}
	}
	return fmt.Errorf("there is no log in %s; it is in DATA_DIR of the event bus", dir)
}

// withCure adds to the error of a damaged log what can be done about it.
func withCure(dir string, err error) error {
	var damage *eventlog.Damage
	if !errors.As(err, &damage) {
		return err
	}
	return fmt.Errorf("%w; restore the log from a backup, or run \"event-bus repair %s\" to keep the events before %d and give up the rest", err, dir, damage.Event)
}

func dump(dir string, out io.Writer) error {
	return eventlog.Check(dir, io.Discard, func(b eventlog.Batch) error {
		_, err := out.Write(b.Text)
		return err
	})
}

func repair(dir string, out io.Writer) error {
	kept, err := eventlog.Repair(dir)
	if err == nil {
		fmt.Fprintln(out, kept)
	}
	return err
}

// verify prints a line a segment and the sum.
func verify(dir string, out io.Writer) error {
	return eventlog.Check(dir, out, func(eventlog.Batch) error { return nil })
}
