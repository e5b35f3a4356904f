package service

import (
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"miniblog/internal/disk"
)

// Env reads a service's configuration from environment variables. A wrong
// value does not stop the reading: Err returns all of them at once, each as a
// sentence that says what to do.
type Env struct {
	lookup   func(string) (value string, set bool)
	errs     []error
	loopback bool // of the address that Run listens on
}

// NewEnv returns an Env that reads with lookup, usually os.LookupEnv.
func NewEnv(lookup func(string) (value string, set bool)) *Env { return &Env{lookup: lookup} }

func (e *Env) fail(name, value, want string) {
	e.errs = append(e.errs, fmt.Errorf("%s=%q: %s", name, value, want))
}

// Err returns what was wrong with the values read so far, or nil.
func (e *Env) Err() error { return errors.Join(e.errs...) }

// OnlyThisMachine tells a service that is being built whether nobody else can
// reach its address.
func (e *Env) OnlyThisMachine() bool { return e.loopback }

// String returns the variable's value, or def where it is not set.
func (e *Env) String(name, def string) string {
	if v, _ := e.lookup(name); strings.TrimSpace(v) != "" {
		return strings.TrimSpace(v)
	}
	return def
}

// OneOf returns the variable's value, which must be def, its default, or one of
// others.
func (e *Env) OneOf(name, def string, others ...string) string {
	v := e.String(name, def)
	if v != def && !slices.Contains(others, v) {
		e.fail(name, v, "must be "+strings.Join(append([]string{def}, others...), " or "))
	}
	return v
}

// URL returns a base URL without its trailing slash.
func (e *Env) URL(name, def string) string {
	v := e.String(name, def)
	u, err := url.Parse(v)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		e.fail(name, v, "must be an absolute URL, such as http://localhost:4005")
	}
	return strings.TrimRight(v, "/")
}

// URLOrEmpty is URL, but a variable that is set to nothing gives "" rather
// than def, which may be "" too.
func (e *Env) URLOrEmpty(name, def string) string {
	if v, set := e.lookup(name); (set || def == "") && strings.TrimSpace(v) == "" {
		return ""
	}
	return e.URL(name, def)
}

// List returns comma-separated values without blanks.
func (e *Env) List(name, def string) []string {
	var list []string
	for v := range strings.SplitSeq(e.String(name, def), ",") {
		if v = strings.TrimSpace(v); v != "" {
			list = append(list, v)
		}
	}
	return list
}

// Origins returns a comma-separated list of origins for CORS.
func (e *Env) Origins(name, def string) []string {
	list := e.List(name, def)
	for _, v := range list {
		u, err := url.Parse(v)
		if v != "*" && (err != nil || u.Host == "" || v != u.Scheme+"://"+u.Host) {
			e.fail(name, v, "each origin must be a scheme and a host, such as http://localhost:3000")
		}
	}
	return list
}

// Dir returns a folder that exists and can be written to; it is made if it is
// missing.
func (e *Env) Dir(name, def string) string {
	dir := filepath.Clean(e.String(name, def))
	if err := disk.MakeDir(dir); err != nil {
		e.fail(name, dir, fmt.Sprintf("cannot make this folder (%v); name one that this user may write to", err))
		return dir
	}
	probe, err := os.CreateTemp(dir, ".writable-*")
	if err != nil {
		e.fail(name, dir, fmt.Sprintf("cannot write to this folder (%v); name one that this user may write to", err))
		return dir
	}
	probe.Close()
	os.Remove(probe.Name())
	return dir
}

// logger returns the service's logger as LOG_LEVEL and LOG_FORMAT ask for.
func (e *Env) logger(name string, out *os.File) *slog.Logger {
	var level slog.Level
	if v := e.String("LOG_LEVEL", "info"); level.UnmarshalText([]byte(v)) != nil {
		e.fail("LOG_LEVEL", v, "must be debug, info, warn or error")
	}
	format := e.String("LOG_FORMAT", "json")
	if info, err := out.Stat(); e.String("LOG_FORMAT", "") == "" && err == nil && info.Mode()&os.ModeCharDevice != 0 {
		format = "text"
	}
	options := &slog.HandlerOptions{Level: level}
	switch format {
	case "json":
	case "text": // whoever shows it to people says whose line it is
		return slog.New(slog.NewTextHandler(out, options))
	default:
		e.fail("LOG_FORMAT", format, "must be text or json")
	}
	return slog.New(slog.NewJSONHandler(out, options)).With("service", name)
}
