package api

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"miniblog/event-bus/eventlog"
	"miniblog/event-bus/eventlog/logtest"
	"miniblog/internal/web"
)

// A reader must not take a part for the whole.
func TestReaderIsCutOffBeforeWhatIsDamaged(t *testing.T) {
	oneBus(t)
	t.Parallel()
	b := startBus(t)
	for range 20 {
		b.fill("A", 100)
	}
	b = b.restart() // and has nothing in memory
	logtest.Damage(t, b.dir, 0.5)
	for form, header := range forms {
		t.Run("as "+form, func(t *testing.T) {
			r, err := b.try("GET", "/events", strings.NewReader(""), header...)
			if err != nil {
				t.Fatal(err)
			}
			if r.status != http.StatusOK {
				t.Fatalf("answered %d %s", r.status, r.body)
			}
			if form == "lines, zstd" { // the file's own bytes: who decodes them checks them
				d, err := zstd.NewReader(nil)
				if err != nil {
					t.Fatal(err)
				}
				defer d.Close()
				if text, err := d.DecodeAll([]byte(r.body), nil); err == nil {
					t.Errorf("the damage went unnoticed in %d bytes", len(text))
				}
				return
			}
			if r.err == nil {
				t.Errorf("the answer of %d bytes looks whole", len(r.body))
			}
		})
		if strings.HasPrefix(form, "a stream") {
			continue
		}
		t.Run("and what is whole is read as "+form, func(t *testing.T) {
			if got := b.send("GET", "/events?limit=3", "", header...).ranks(t); len(got) != 3 {
				t.Errorf("got %d", got)
			}
			if got := b.send("GET", "/events?after=1990", "", header...).ranks(t); len(got) != 10 {
				t.Errorf("got %d", got)
			}
		})
	}
	t.Run("or told at once", func(t *testing.T) {
		first := 0
		for q := 0; q < 2000; q += 100 { // the first batch that is damaged
			if r := b.send("GET", fmt.Sprintf("/events?limit=1&after=%d", q), ""); r.status != http.StatusOK {
				r.wantProblem(t, http.StatusInternalServerError, "")
				first = q
				break
			}
		}
		if first == 0 {
			t.Error("nothing is refused, or all")
		}
	})
	t.Run("publishing goes on", func(t *testing.T) {
		if a := b.post("application/json", `{"type":"T"}`); a.Sequence != 2001 {
			t.Errorf("stored as %d", a.Sequence)
		}
	})
}

func TestPublisherIsToldWhatTheDiskDoes(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		err    error
		status int
	}{
		{fmt.Errorf("writing: %w", eventlog.ErrFull), http.StatusInsufficientStorage},
		{fmt.Errorf("%w: input/output error", eventlog.ErrReadOnly), http.StatusServiceUnavailable},
	} {
		var p *web.Problem
		if err := refused(test.err); !errors.As(err, &p) || p.Status != test.status || p.RetryAfter == 0 || !errors.Is(err, test.err) || strings.Contains(p.Detail, "error") {
			t.Errorf("%v became %+v", test.err, p)
		}
	}
	if other := errors.New("other"); refused(other) != other {
		t.Errorf("another error became %v", refused(other))
	}

	t.Run("a log that takes nothing can be read", func(t *testing.T) {
		log, err := eventlog.Open(t.TempDir(), eventlog.Options{})
		if err != nil {
			t.Fatal(err)
		}
		b := New(Config{Log: log, Stopping: t.Context()})
		publish := func() *httptest.ResponseRecorder {
			r := httptest.NewRequest("POST", "/events", strings.NewReader(`{"type":"T"}`))
			r.Header.Set("Content-Type", "application/json")
			w := httptest.NewRecorder()
			web.Handler(b.publish).ServeHTTP(w, r)
			return w
		}
		if w := publish(); w.Code != http.StatusOK {
			t.Fatalf("answered %d %s", w.Code, w.Body)
		}
		log.Close()
		w := publish()
		reply{status: w.Code, header: w.Header(), body: w.Body.String()}.wantProblem(t, http.StatusServiceUnavailable, "")
		if w.Header().Get("Retry-After") == "" {
			t.Error("there is no Retry-After")
		}
		w = httptest.NewRecorder()
		web.Handler(b.fetch).ServeHTTP(w, httptest.NewRequest("GET", "/events", nil))
		reply{status: w.Code, header: w.Header(), body: w.Body.String()}.wantJSON(t, http.StatusOK, nil)
	})
}
