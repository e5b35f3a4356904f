package bus

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
)

// userAgent is how a process names itself to the bus, which shows it to people:
// miniblog-query/<version> (<copy>). The copy is the host and the process; a
// process that is alone in its container is its host.
func userAgent() string {
	version := "devel"
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		version = info.Main.Version
	}
	host, err := os.Hostname()
	if err != nil {
		host = "unnamed"
	}
	copy := fmt.Sprintf("%.63s", host)
	if pid := os.Getpid(); pid != 1 {
		copy = fmt.Sprintf("%.40s:%d", host, pid)
	}
	return fmt.Sprintf("miniblog-%s/%s (%s)", filepath.Base(os.Args[0]), version, copy)
}
