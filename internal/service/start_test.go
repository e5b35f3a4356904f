package service

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

func TestPortThatIsTakenIsSaidInASentence(t *testing.T) {
	t.Parallel()
	other, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	closed := false
	addr := other.Addr().String()
	err = Run(t.Context(), "test", addr, variables(), func(context.Context, *Env) (*Service, error) {
		return &Service{Close: func() error { closed = true; return nil }}, nil
	}, nil)
	want := addr + " is in use by another program: stop that one, or set ADDR to another address"
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	if !closed {
		t.Error("what was opened was not closed")
	}
}

func TestWrongConfigurationIsSaidInASentenceEach(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	open := func(_ context.Context, env *Env) (*Service, error) {
		env.URL("EVENT_BUS_URL", "http://localhost:4005")
		env.URLOrEmpty("POSTS_URL", "http://localhost:4000")
		env.Origins("ALLOWED_ORIGINS", "http://localhost:3000")
		env.Dir("DATA_DIR", dir)
		return &Service{}, nil
	}
	tests := map[string]struct{ name, value, want string }{
		"an address without a port":       {"ADDR", "localhost", `must be a host and a port`},
		"an address that is not one":      {"ADDR", "localhost:1:2", `must be a host and a port`},
		"a port that does not exist":      {"ADDR", "localhost:70000", `invalid port`},
		"an admin address without port":   {"ADMIN_ADDR", "localhost", `must be a host and a port`},
		"a host with a scheme":            {"ALLOWED_HOSTS", "http://posts.com", `must be names without scheme and port`},
		"an unknown level":                {"LOG_LEVEL", "loud", `must be debug, info, warn or error`},
		"an unknown format":               {"LOG_FORMAT", "xml", `must be text or json`},
		"a relative URL":                  {"EVENT_BUS_URL", "localhost:4005", `must be an absolute URL, such as http://localhost:4005`},
		"a URL of another scheme":         {"EVENT_BUS_URL", "ftp://localhost", `must be an absolute URL`},
		"a URL that does not parse":       {"POSTS_URL", "http://a b", `must be an absolute URL`},
		"an origin with a path":           {"ALLOWED_ORIGINS", "http://a, http://b/", `each origin must be a scheme and a host`},
		"an origin without a scheme":      {"ALLOWED_ORIGINS", "posts.com", `each origin must be a scheme and a host`},
		"a folder that is a file":         {"DATA_DIR", file, `cannot make this folder`},
		"a folder that cannot be made":    {"DATA_DIR", filepath.Join(file, "below"), `cannot make this folder`},
		"a folder where nobody may write": {"DATA_DIR", "/proc", `cannot write to this folder`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			err := Run(t.Context(), "test", "localhost:0", variables(test.name, test.value), open, nil)
			if err == nil {
				t.Fatal("it started")
			}
			lines := unjoin(err)
			if len(lines) != 1 || !strings.HasPrefix(lines[0].Error(), test.name+"=") || !strings.Contains(lines[0].Error(), test.want) {
				t.Errorf("got %q, want one sentence with %s and %q", lines, test.name, test.want)
			}
		})
	}
	t.Run("all of them at once", func(t *testing.T) {
		err := Run(t.Context(), "test", "", variables("ADDR", "x", "LOG_LEVEL", "x", "EVENT_BUS_URL", "x", "DATA_DIR", file), open, nil)
		if lines := unjoin(err); len(lines) != 4 {
			t.Errorf("got %q, want four sentences", lines)
		}
	})
	t.Run("blank means the default", func(t *testing.T) {
		env := NewEnv(variables("EVENT_BUS_URL", "  ", "POSTS_URL", "", "ADDR", " a:1 "))
		if v := env.URL("EVENT_BUS_URL", "http://b/"); v != "http://b" {
			t.Errorf("EVENT_BUS_URL is %q", v)
		}
		if v := env.URLOrEmpty("POSTS_URL", "http://b"); v != "" {
			t.Errorf("POSTS_URL is %q: it was set to nothing", v)
		}
		if v := env.URLOrEmpty("QUERY_URL", "http://b"); v != "http://b" {
			t.Errorf("QUERY_URL is %q: it was not set", v)
		}
		if v := env.String("ADDR", ""); v != "a:1" {
			t.Errorf("ADDR is %q", v)
		}
		if env.Err() != nil {
			t.Error(env.Err())
		}
	})
}

func TestWhatOpenSaysIsWhatRunSays(t *testing.T) {
	t.Parallel()
	failure := errors.New("the log is damaged")
	err := Run(t.Context(), "test", "localhost:0", variables(), func(context.Context, *Env) (*Service, error) { return nil, failure }, nil)
	if !errors.Is(err, failure) {
		t.Errorf("got %v", err)
	}
}

func TestReadyIsAskedOfTheServiceThatRuns(t *testing.T) {
	t.Parallel()
	var ready atomic.Bool
	s := start(t, func(context.Context, *Env) (*Service, error) {
		return &Service{Ready: func() error {
			if !ready.Load() {
				return errors.New("waiting for the log")
			}
			return nil
		}}, nil
	})
	_, port, _ := net.SplitHostPort(s.addr)
	if err := askReady(t.Context(), ":"+port); err == nil || !strings.Contains(err.Error(), "waiting for the log") {
		t.Errorf("got %v", err)
	}
	ready.Store(true)
	for _, addr := range []string{s.addr, ":" + port, "0.0.0.0:" + port} {
		if err := askReady(t.Context(), addr); err != nil {
			t.Errorf("%s: %v", addr, err)
		}
	}
	http.DefaultClient.CloseIdleConnections()
	s.stop()
	if askReady(t.Context(), s.addr) == nil {
		t.Error("a service that is not there is ready")
	}
	if err := askReady(t.Context(), "nowhere"); err == nil || !strings.Contains(err.Error(), "must be a host and a port") {
		t.Errorf("got %v", err)
	}
}
