package bus

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
)

// userAgent is how a process names itself to the bus, which shows it to people:
// miniblog-query/<version> (<copy>). The copy is the host and the process.
func userAgent() string {
	version := "devel"
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		version = info.Main.Version
	}
	host, err := os.Hostname()
	if err != nil {
		host = "unnamed"
	}
	return fmt.Sprintf("miniblog-%s/%s (%.40s:%d)", filepath.Base(os.Args[0]), version, host, os.Getpid())
}
