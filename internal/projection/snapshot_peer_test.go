package projection_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"miniblog/internal/bus/bustest"
	"miniblog/internal/event"
	"miniblog/internal/projection"
	"miniblog/test/wait"
)

// TestCopyThatGivesNonsenseIsGivenUp: whatever the other copy does, a new one reads
// the log instead, soon, and keeps nothing of what it was sent. Half of a snapshot
// stayed on the disk, and one of any size was taken in.
func TestCopyThatGivesNonsenseIsGivenUp(t *testing.T) {
	t.Parallel()
	b := bustest.New(t)
	events, want := many(1000)
	b.Add(events...)
	_, url := giving(t, b)
	real, err := http.Get(url + "/snapshot")
	if err != nil {
		t.Fatal(err)
	}
	defer real.Body.Close()
	good, err := io.ReadAll(real.Body)
	if err != nil || real.StatusCode != http.StatusOK {
		t.Fatalf("%s, %v", real.Status, err)
	}
	ended := make(chan struct{})
	begin := func(w http.ResponseWriter, length string) {
		for name, values := range real.Header {
			w.Header()[name] = values
		}
		w.Header().Del("Content-Length")
		if length != "" {
			w.Header().Set("Content-Length", length)
		}
		w.WriteHeader(http.StatusOK)
		http.NewResponseController(w).Flush()
	}
	stall := func(r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-ended:
		}
	}
	var sent atomic.Int64
	endless := func(w http.ResponseWriter) {
		for {
			n, err := w.Write(make([]byte, 1<<20))
			sent.Add(int64(n))
			if err != nil {
				return
			}
		}
	}
	whole := strconv.Itoa(len(good))
	for name, give := range map[string]http.HandlerFunc{
		"it is silent":                    func(w http.ResponseWriter, r *http.Request) { begin(w, whole); stall(r) },
		"it stalls in the middle":         func(w http.ResponseWriter, r *http.Request) { begin(w, whole); w.Write(good[:len(good)/2]); stall(r) },
		"it is cut off in the middle":     func(w http.ResponseWriter, r *http.Request) { begin(w, whole); w.Write(good[:len(good)/2]) },
		"it announces more than there is": func(w http.ResponseWriter, _ *http.Request) { begin(w, "4611686018427387904"); endless(w) },
		"it never ends":                   func(w http.ResponseWriter, _ *http.Request) { begin(w, ""); endless(w) },
		"it leads elsewhere":              func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, url+"/snapshot", http.StatusFound) },
		"it sends noise": func(w http.ResponseWriter, _ *http.Request) {
			begin(w, whole)
			io.WriteString(w, strings.Repeat("\xa5", len(good)))
		},
		"its pages are zeroes": func(w http.ResponseWriter, _ *http.Request) {
			begin(w, whole)
			w.Write(append(good[:4096:4096], make([]byte, len(good)-4096)...))
		},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(give)
			defer server.Close()
			var dir string
			began := time.Now()
			v := joining(t, b, server.URL, func(c *projection.Config) { dir = c.Dir })
			v.expect(t, want)
			wait.For(t, "being ready", func() bool { return v.Ready() == nil })
			if took := time.Since(began); took > 30*time.Second { // it has 5 s; twice as much would be a second attempt
				t.Errorf("it took %v", took)
			}
			if left, err := filepath.Glob(filepath.Join(dir, "projection-next.db*")); err != nil || len(left) > 0 {
				t.Errorf("%v is left, %v", left, err)
			}
		})
	}
	close(ended)
	if n := sent.Load(); n > 100<<20 {
		t.Errorf("%d MiB were taken of what has no end", n>>20)
	}
}

// TestReaderOfASnapshotWhoStallsHoldsUpNeitherWorkNorStop: the copy that gives it goes
// on, and ends at once when it is told to.
func TestReaderOfASnapshotWhoStallsHoldsUpNeitherWorkNorStop(t *testing.T) {
	t.Parallel()
	b := bustest.New(t)
	for i := range 32 { // more than the kernel keeps for a reader
		id := strconv.Itoa(i)
		b.Add(event.New(id, "/posts", event.PostCreated, id, event.Post{ID: id, Title: strings.Repeat("x", 1_000_000)}))
	}
	v, url := giving(t, b)
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "GET /snapshot HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if status, err := bufio.NewReader(conn).ReadString('\n'); err != nil || !strings.Contains(status, "200") {
		t.Fatalf("%q, %v", status, err)
	}
	b.Add(posts("new")...)
	wait.For(t, "the next event", func() bool { return v.Checkpoint() == 33 })
	if !strings.HasSuffix(v.titles(t), " new ") {
		t.Error("the next event cannot be read")
	}
	began := time.Now()
	v.stop()
	if took := time.Since(began); took > 10*time.Second { // the reader has 30 s for a slice
		t.Errorf("it stopped after %v", took)
	}
}

// TestErrorsOfTheSnapshotsAreProblems: net/http answers what has no route in plain text.
func TestErrorsOfTheSnapshotsAreProblems(t *testing.T) {
	b := bustest.New(t)
	_, url := giving(t, b)
	for request, want := range map[string]int{"GET /": 404, "GET /snapshot/": 404, "GET /metrics": 404, "POST /snapshot": 405, "GET /snapshot": 503} {
		method, path, _ := strings.Cut(request, " ")
		r, err := http.NewRequestWithContext(t.Context(), method, url+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want || resp.Header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: %s, %s", request, resp.Status, resp.Header.Get("Content-Type"))
		}
	}
}
