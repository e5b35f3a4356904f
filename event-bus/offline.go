package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"miniblog/event-bus/eventlog"
)

const usage = `usage:
  event-bus               run the service
  event-bus verify DIR    read a whole log and say whether it holds
  event-bus dump DIR      print every event, a line each
  event-bus repair DIR    give up everything from the first damage on; what is
                          given up is kept in DIR/damaged-*
The event bus must not be running on DIR.
`

var commands = map[string]func(dir string, out io.Writer) error{"verify": verify, "dump": dump, "repair": repair}

// offline runs a command on a log that no service has open, and returns the
// exit code: 0 all is well, 1 it is not, 2 the command is not understood.
func offline(args []string, out, errs io.Writer) int {
	if len(args) != 2 || commands[args[0]] == nil {
		fmt.Fprint(errs, usage)
		return 2
	}
	name, dir := args[0], args[1]
	err := findLog(dir)
	if err == nil {
		err = commands[name](dir, out)
	}
	if err != nil {
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
