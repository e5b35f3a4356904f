package service

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"miniblog/internal/web"
	"miniblog/test/wait"
)

func TestStopFinishesWhatRuns(t *testing.T) {
	t.Parallel()
	entered, leave := make(chan struct{}), make(chan struct{})
	var closed atomic.Bool
	s := start(t, func(context.Context, *Env) (*Service, error) {
		return &Service{
			Routes: map[string]web.Handler{"GET /slow": func(w http.ResponseWriter, r *http.Request) error {
				close(entered)
				<-leave
				if closed.Load() {
					return errors.New("what the request needs was closed before its end")
				}
				return ok(w, r)
			}},
			Close: func() error { closed.Store(true); return nil },
		}, nil
	})
	answered := make(chan string)
	go func() { _, body := s.get("/slow"); answered <- body }()
	<-entered
	conn := s.dial()
	send(t, conn, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
	s.kill()
	s.waitUntilStopping(conn)
	close(leave)
	if body := <-answered; body != "{\"status\":\"OK\"}\n" {
		t.Errorf("answered %q", body)
	}
	if err := s.stop(); err != nil || !closed.Load() {
		t.Errorf("stopped with %v, closed: %v", err, closed.Load())
	}
}

// waitUntilStopping waits until the service says on conn that it stops.
func (s *running) waitUntilStopping(conn net.Conn) {
	s.t.Helper()
	wait.For(s.t, "the stop", func() bool {
		response, body := send(s.t, conn, "GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n")
		stopping := response.StatusCode == http.StatusServiceUnavailable && strings.Contains(body, "stopping")
		if stopping && !response.Close {
			s.t.Error("the last answer does not say that it is the last")
		}
		return stopping
	})
}

// While the service drained its listen queue, the server could close the
// listener a second time and call that an error.
func TestStopIsNoErrorWhoeverIsConnected(t *testing.T) {
	t.Parallel()
	for range 15 {
		s := serve(t, nil)
		s.get("/healthz")
		if err := s.stop(); err != nil {
			t.Fatal(err)
		}
	}
}

// A browser opens connections ahead of its requests; the server used to wait 5
// seconds for each.
func TestStopDoesNotWaitForConnectionsThatNeverAsked(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	s.dial()
	half := s.dial()
	io.WriteString(half, "GET /healthz HTTP/1.1\r\nHost: ")
	s.get("/healthz") // they were accepted before this one
	s.kill()
	select {
	case <-s.done:
	case <-time.After(4 * time.Second):
		t.Fatal("it is still not stopped; five seconds are promised for all services together")
	}
}

func TestStopEndsStreams(t *testing.T) {
	t.Parallel()
	stream := func(stopping context.Context, began chan<- struct{}) web.Handler {
		return func(w http.ResponseWriter, _ *http.Request) error {
			out := web.NewStream(w)
			out.Write([]byte("first\n"))
			out.Flush()
			close(began)
			<-stopping.Done()
			out.Write([]byte("last\n"))
			return nil
		}
	}
	failure := errors.New("a background function failed")
	for name, test := range map[string]struct {
		fail bool
		want error
	}{
		"when it is asked to stop": {false, nil},
		"when a part of it fails":  {true, failure},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			began, fail := make(chan struct{}), make(chan struct{})
			s := start(t, func(ctx context.Context, _ *Env) (*Service, error) {
				return &Service{
					Routes: map[string]web.Handler{"GET /stream": stream(ctx, began)},
					Background: []func(context.Context) error{func(ctx context.Context) error {
						select {
						case <-fail:
							return failure
						case <-ctx.Done():
							return ctx.Err()
						}
					}},
				}, nil
			})
			read := make(chan string)
			go func() { _, body := s.get("/stream"); read <- body }()
			<-began
			if test.fail {
				close(fail)
			} else {
				s.kill()
			}
			if body := <-read; body != "first\nlast\n" {
				t.Errorf("the stream was %q", body)
			}
			<-s.done
			if !errors.Is(s.err, test.want) {
				t.Errorf("stopped with %v", s.err)
			}
		})
	}
}

// The clients of this test do what a client can: each request has an id, and
// they keep who was answered. The service keeps whom it served. A request may
// fail when the service takes no more connections; on a connection that it has
// it answers until it has said which answer is the last.
func TestStopUnderLoadCutsNobodyOff(t *testing.T) {
	t.Parallel()
	var served sync.Map
	s := serve(t, map[string]web.Handler{"POST /do": func(w http.ResponseWriter, r *http.Request) error {
		var request struct{ ID string }
		if err := web.ReadJSON(w, r, &request); err != nil {
			return err
		}
		served.Store(request.ID, true)
		return ok(w, r)
	}})
	do := func(client *http.Client, id string) (reused bool, err error) {
		ctx := httptrace.WithClientTrace(context.Background(), &httptrace.ClientTrace{GotConn: func(c httptrace.GotConnInfo) { reused = c.Reused }})
		request, err := http.NewRequestWithContext(ctx, "POST", "http://"+s.addr+"/do", strings.NewReader(`{"ID":"`+id+`"}`))
		if err != nil {
			return false, err
		}
		request.Header.Set("Content-Type", "application/json")
		response, err := client.Do(request)
		if err != nil {
			return reused, err
		}
		defer response.Body.Close()
		if _, err = io.ReadAll(response.Body); err == nil && response.StatusCode != http.StatusOK {
			err = errors.New(response.Status)
		}
		return reused, err
	}
	var clients sync.WaitGroup
	var answered atomic.Int64
	for c := range 18 {
		transport := &http.Transport{DisableKeepAlives: c%3 == 0} // some connect each time, some ask without a pause, some think
		t.Cleanup(transport.CloseIdleConnections)
		client := &http.Client{Transport: transport, Timeout: 15 * time.Second}
		clients.Go(func() {
			for i := 0; ; i++ {
				id := fmt.Sprintf("%d-%d", c, i)
				reused, err := do(client, id)
				if err == nil {
					answered.Add(1)
					if c%3 == 1 {
						time.Sleep(50 * time.Millisecond)
					}
					continue
				}
				if _, had := served.Load(id); had || reused {
					t.Errorf("request %s: served: %v, on a connection that had answered before: %v, and yet %v", id, had, reused, err)
				}
				return
			}
		})
	}
	wait.For(t, "load", func() bool { return answered.Load() > 200 })
	if err := s.stop(); err != nil {
		t.Error(err)
	}
	clients.Wait()
}

// A client that keeps its connection may be about to send on it when the
// service begins to stop, and another one to connect.
func TestClientsGetALastAnswer(t *testing.T) {
	t.Parallel()
	const request = "GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n"
	for range 5 { // their time is a second: a busy machine may miss it
		s := serve(t, nil)
		kept := s.dial()
		send(t, kept, request)
		s.kill()
		answered := 0
		for _, conn := range []func() (net.Conn, error){
			func() (net.Conn, error) { return net.Dial("tcp", s.addr) },
			func() (net.Conn, error) { return kept, nil },
		} {
			for { // until it has begun to stop
				c, err := conn()
				if err != nil {
					break
				}
				io.WriteString(c, request)
				answer, err := http.ReadResponse(bufio.NewReader(c), nil)
				if err != nil {
					break
				}
				if answer.Close {
					if answer.StatusCode != http.StatusServiceUnavailable {
						t.Errorf("the last answer is %s", answer.Status)
					}
					answered++
					break
				}
			}
		}
		if answered == 2 {
			return
		}
	}
	t.Error("a connection was closed without one")
}

func TestServiceIsNotReadyWhileItStops(t *testing.T) {
	t.Parallel()
	var waiting atomic.Bool
	waiting.Store(true)
	entered, leave := make(chan struct{}), make(chan struct{})
	s := start(t, func(context.Context, *Env) (*Service, error) {
		return &Service{
			Ready: func() error {
				if waiting.Load() {
					return errors.New("waiting for the log")
				}
				return nil
			},
			Routes: map[string]web.Handler{"GET /slow": func(w http.ResponseWriter, r *http.Request) error {
				close(entered)
				<-leave
				return ok(w, r)
			}},
		}, nil
	})
	response, body := s.get("/readyz")
	if response.StatusCode != http.StatusServiceUnavailable || !strings.Contains(body, "waiting for the log") {
		t.Errorf("before: %d %s", response.StatusCode, body)
	}
	if response, _ = s.get("/healthz"); response.StatusCode != http.StatusOK {
		t.Errorf("alive: %d", response.StatusCode)
	}
	waiting.Store(false)
	if response, _ = s.get("/readyz"); response.StatusCode != http.StatusOK {
		t.Errorf("ready: %d", response.StatusCode)
	}

	conn := s.dial()
	send(t, conn, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n") // a connection that stays
	go s.client.Get("http://" + s.addr + "/slow")
	<-entered
	s.kill()
	s.waitUntilStopping(conn)
	close(leave)
}

func TestStopWhileItStartsIsNoError(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	closed := false
	err := Run(ctx, "test", "localhost:0", variables("LOG_LEVEL", "ERROR+4"), func(context.Context, *Env) (*Service, error) {
		cancel()
		return &Service{Close: func() error { closed = true; return nil }}, nil
	}, nil)
	if err != nil || !closed {
		t.Errorf("stopped with %v, closed: %v", err, closed)
	}
}
