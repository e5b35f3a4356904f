package web

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

func TestMemoryIsAQuarterOfTheLimit(t *testing.T) {
	if got := mostOf(100 << 20); got != 25<<20 {
		t.Errorf("of 100 MiB requests may hold %d bytes", got)
	}
	if got := mostOf(math.MaxInt64); got != mostAlone {
		t.Errorf("without a limit requests may hold %d bytes", got)
	}
}

func TestWhoComesWaitsUntilThereIsRoom(t *testing.T) {
	m := newMemory(100 << 10)
	one, two := &holder{memory: m}, &holder{memory: m}
	if err := one.reserve(t.Context(), 80<<10); err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() { done <- two.reserve(t.Context(), 40<<10) }()
	select {
	case err := <-done:
		t.Fatalf("there was room for both: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	one.release()
	if err := <-done; err != nil || m.used != 40<<10 {
		t.Errorf("%v, %d bytes are held", err, m.used)
	}
}

func TestOneRequestAloneMayHoldMoreThanAll(t *testing.T) {
	m := newMemory(100 << 10)
	h := &holder{memory: m}
	if err := h.reserve(t.Context(), 1<<20); err != nil {
		t.Error(err)
	}
}

func TestWaitForRoomEndsWithTheRequest(t *testing.T) {
	m := newMemory(100 << 10)
	(&holder{memory: m}).hold(100 << 10)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := (&holder{memory: m}).reserve(ctx, 50<<10); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// TestOldestSliceIsCutOff: not the request that came first, but the one whose
// client has been slow for longest.
func TestOldestSliceIsCutOff(t *testing.T) {
	m := newMemory(100 << 10)
	old, slow, quick := &holder{memory: m}, &holder{memory: m}, &holder{memory: m}
	cut := make(chan string, 3)
	for name, h := range map[string]*holder{"old": old, "slow": slow, "quick": quick} {
		h.hold(30 << 10)
		h.cut = func() { cut <- name }
	}
	old.begin(old.cut)
	slow.begin(slow.cut)
	old.end() // its client took a slice
	old.begin(old.cut)
	quick.begin(quick.cut)
	done := make(chan error)
	go func() { done <- (&holder{memory: m}).reserve(t.Context(), 30<<10) }()
	if name := <-cut; name != "slow" {
		t.Errorf("the %s request was cut off", name)
	}
	if slow.end() || slow.begin(slow.cut) {
		t.Error("what was cut off goes on")
	}
	slow.release()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if !old.end() || !quick.end() {
		t.Error("others were cut off, too")
	}
}

func TestSharedBodyIsCountedOnce(t *testing.T) {
	m := newMemory(math.MaxInt64)
	s := Shared{Body: make([]byte, 1<<20)}
	s.count(m, 1)
	s.count(m, 1)
	if m.used != 1<<20 {
		t.Errorf("%d bytes for two readers", m.used)
	}
	s.count(m, -1)
	s.count(m, -1)
	if m.used != 0 {
		t.Errorf("%d bytes for none", m.used)
	}
}

// serve serves h, with a memory of its own, and returns a connection to it.
func serve(t *testing.T, m *memory, h Handler) net.Conn {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a := &answer{ResponseWriter: w, request: r, came: time.Now(), holder: holder{memory: m}}
		defer a.holder.release()
		r.Pattern = "/"
		h.ServeHTTP(a, r)
	}))
	t.Cleanup(server.Close)
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	return conn
}

func TestReaderWhoStallsIsCutOffWhenOthersNeedTheRoom(t *testing.T) {
	m := newMemory(1 << 20)
	body := bytes.Repeat([]byte("x"), 16<<20) // more than the kernel's buffers hold
	conn := serve(t, m, func(w http.ResponseWriter, _ *http.Request) error {
		WriteBody(w, http.StatusOK, "text/plain", body)
		return nil
	})
	io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if err := (&holder{memory: m}).reserve(t.Context(), 1<<20); err != nil {
		t.Fatalf("the reader was not cut off: %v", err)
	}
	if n, _ := io.Copy(io.Discard, conn); n >= int64(len(body)) {
		t.Errorf("the reader got everything, %d bytes", n)
	}
}

func TestUploadThatStallsIsToldSoWhenOthersNeedTheRoom(t *testing.T) {
	for name, header := range map[string]string{
		"announced": "Content-Length: 900000\r\n\r\n",
		"chunked":   "Transfer-Encoding: chunked\r\n\r\n7a120\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			m := newMemory(1 << 20)
			arriving := make(chan struct{})
			conn := serve(t, m, func(w http.ResponseWriter, r *http.Request) error {
				close(arriving)
				_, _, err := ReadBody(w, r, MaxBody)
				return err
			})
			io.WriteString(conn, "POST / HTTP/1.1\r\nHost: x\r\n"+header+string(bytes.Repeat([]byte(" "), 300_000)))
			<-arriving
			for deadline := time.Now().Add(10 * time.Second); held(m) < 300_000; time.Sleep(time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatalf("%d bytes are held of a body of 300,000", held(m))
				}
			}
			if err := (&holder{memory: m}).reserve(t.Context(), 1<<20); err != nil {
				t.Fatalf("the upload was not cut off: %v", err)
			}
			answer, err := io.ReadAll(conn)
			if !bytes.HasPrefix(answer, []byte("HTTP/1.1 408 ")) {
				t.Errorf("the answer is %v %s", err, answer)
			}
		})
	}
}

// A command that waited for memory, and then for the bus, took 9 s to its 503:
// each wait had a limit of its own.
func TestOneLimitHoldsForAllThatARequestWaitsFor(t *testing.T) {
	m := newMemory(1 << 20)
	others := &holder{memory: m}
	others.hold(1 << 20)
	begun, answered := make(chan struct{}), make(chan time.Duration, 1)
	conn := serve(t, m, func(w http.ResponseWriter, r *http.Request) error {
		close(begun)
		if _, _, err := ReadBody(w, r, MaxBody); err != nil {
			return err
		}
		due, cancel := UntilDue(w, r)
		defer cancel()
		deadline, _ := due.Deadline()
		answered <- time.Until(deadline)
		return context.DeadlineExceeded // of what the handler waits for
	})
	const wait, pause = 300 * time.Millisecond, 200 * time.Millisecond
	body := bytes.Repeat([]byte(" "), 100_000)
	fmt.Fprintf(conn, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", len(body))
	<-begun // its time runs
	time.Sleep(wait)
	others.release()
	conn.Write(body[:50_000])
	time.Sleep(pause) // which is the client's own
	conn.Write(body[50_000:])
	if left := <-answered; left > answerDue-wait || left < answerDue-10*wait {
		t.Errorf("%v are left after a wait of %v", left, wait)
	}
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil || answer.StatusCode != http.StatusServiceUnavailable || answer.Header.Get("Retry-After") == "" {
		t.Errorf("what is too late is answered with %+v, %v", answer, err)
	}
}

func TestMemoryIsAwaitedUntilTheAnswerIsDue(t *testing.T) {
	m := newMemory(1 << 20)
	(&holder{memory: m}).hold(1 << 20)
	w := &answer{ResponseWriter: httptest.NewRecorder(), came: time.Now().Add(100*time.Millisecond - answerDue), holder: holder{memory: m}}
	began := time.Now()
	err := Reserve(w, httptest.NewRequest(http.MethodGet, "/", nil), 1<<20)
	var p *Problem
	if !errors.As(err, &p) || p.Status != http.StatusServiceUnavailable || time.Since(began) >= roomWait {
		t.Errorf("after %v: %v", time.Since(began), err)
	}
}

func held(m *memory) int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.used
}

func TestBodiesOfUnknownLengthArriveWhole(t *testing.T) {
	for _, n := range []int{0, 1, smallBytes - 1, smallBytes, smallBytes + 1, sliceBytes, 300_001, MaxBody} {
		want := bytes.Repeat([]byte("x"), n)
		r := httptest.NewRequest(http.MethodPost, "/", io.MultiReader(bytes.NewReader(want))) // whose length cannot be asked
		got, _, err := ReadBody(httptest.NewRecorder(), r, MaxBody)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d of %d bytes: %v", len(got), n, err)
		}
	}
	r := httptest.NewRequest(http.MethodPost, "/", io.MultiReader(bytes.NewReader(make([]byte, MaxBody+1))))
	var p *Problem
	if _, _, err := ReadBody(httptest.NewRecorder(), r, MaxBody); !errors.As(err, &p) || p.Status != http.StatusRequestEntityTooLarge {
		t.Errorf("one byte too many: %v", err)
	}
}
