package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"sync"
)

// terminal is written to by all processes, a whole line at a time.
type terminal struct {
	mu     sync.Mutex
	w      io.Writer
	colour bool
}

func newTerminal(f *os.File) *terminal {
	info, err := f.Stat()
	isTerminal := err == nil && info.Mode()&os.ModeCharDevice != 0
	return &terminal{w: f, colour: isTerminal && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"}
}

// say writes a line of our own.
func (t *terminal) say(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	fmt.Fprintf(t.w, format+"\n", args...)
}

// nameWidth is the longest name of a program.
const nameWidth = len("event-bus-1")

// colours of the programs, in their order.
var colours = []string{"33", "36", "32", "35", "34", "31"}

// lines returns a writer for the output of the i-th program.
func (t *terminal) lines(i int, name string) *lines {
	prefix := fmt.Sprintf("%-*s | ", nameWidth, name)
	if t.colour {
		prefix = "\x1b[" + colours[i%len(colours)] + "m" + prefix + "\x1b[0m"
	}
	return &lines{terminal: t, prefix: prefix}
}

// What is kept of a program's output.
const (
	longestLine = 64 << 10 // bytes; a longer one is broken
	lastLines   = 5        // for telling why a program did not start
)

// lines puts a prefix before every line that is written to it. One goroutine
// at a time may use it.
type lines struct {
	terminal *terminal
	prefix   string
	part     []byte // of a line that has not ended
	last     []string
}

// Write implements io.Writer.
func (l *lines) Write(b []byte) (int, error) {
	l.part = append(l.part, b...)
	for {
		end := bytes.IndexByte(l.part, '\n')
		if end < 0 && len(l.part) >= longestLine {
			end = len(l.part)
		}
		if end < 0 {
			return len(b), nil
		}
		l.put(l.part[:end])
		l.part = append(l.part[:0], l.part[min(end+1, len(l.part)):]...)
	}
}

// end writes what the program left without a newline.
func (l *lines) end() {
	if len(l.part) > 0 {
		l.put(l.part)
		l.part = nil
	}
}

func (l *lines) put(line []byte) {
	if l.last = append(l.last, string(line)); len(l.last) > lastLines {
		l.last = l.last[1:]
	}
	l.terminal.mu.Lock()
	defer l.terminal.mu.Unlock()
	fmt.Fprintf(l.terminal.w, "%s%s\n", l.prefix, line)
}
