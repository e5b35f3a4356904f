package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"miniblog/event-bus/cluster"
	"miniblog/event-bus/eventlog"
	"miniblog/event-bus/push"
	"miniblog/internal/service"
	"miniblog/internal/wire"
)

// runningBus is a bus that runs as the program does, on a port and a folder of
// its own.
type runningBus struct {
	t      testing.TB
	addr   string
	url    string
	dir    string
	client *http.Client
	kill   context.CancelFunc
	done   chan struct{} // closed when Run has returned err
	err    error
	log    atomic.Value // that it has open
}

// openLog opens a new log, which is closed when the test ends.
func openLog(t testing.TB) *eventlog.Log {
	t.Helper()
	log, err := eventlog.Open(t.TempDir(), eventlog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { log.Close() })
	return log
}

// startBus starts a bus without subscribers on a new log. It is stopped, and
// must stop without an error, when the test ends.
func startBus(t testing.TB, env ...string) *runningBus {
	t.Helper()
	return startBusOn(t, t.TempDir(), env...)
}

// startBusOn starts a bus on the log in dir. env is names and values in turn.
func startBusOn(t testing.TB, dir string, env ...string) *runningBus {
	t.Helper()
	if onServers != "" {
		return startCluster(t, dir, env...)
	}
	b := startOne(t, dir, append([]string{"DATA_DIR", dir}, env...)...)
	t.Cleanup(b.stop)
	return b
}

// startOne starts a bus, which is not stopped by itself.
func startOne(t testing.TB, dir string, env ...string) *runningBus {
	lookup := environment(t, env...)
	ctx, kill := context.WithCancel(context.Background())
	b := &runningBus{t: t, dir: dir, kill: kill, done: make(chan struct{})}
	b.client = &http.Client{
		Timeout:   20 * time.Second,
		Transport: &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 64},
	}
	listening := make(chan net.Addr, 1)
	go func() {
		b.err = service.Run(ctx, "event-bus", "localhost:0", lookup, b.open, func(a net.Addr) { listening <- a })
		close(b.done)
	}()
	select {
	case a := <-listening:
		b.addr, b.url = a.String(), "http://"+a.String()
	case <-b.done:
		kill()
		t.Errorf("the bus did not start: %v", b.err)
		runtime.Goexit() // startCluster looks after it
	}
	return b
}

// open builds a bus as the program does.
func (b *runningBus) open(ctx context.Context, env *service.Env) (*service.Service, error) {
	dir := env.Dir("DATA_DIR", "")
	text, err := os.ReadFile(env.String("SUBSCRIBERS_FILE", ""))
	if err != nil {
		return nil, err
	}
	subscribers, err := push.Parse(text)
	if err != nil {
		return nil, err
	}
	var log interface {
		Log
		Close() error
	}
	var local *eventlog.Log // what is read
	var owners push.Owners  // nil: one bus
	if servers := env.String("NATS_URL", ""); servers != "" {
		copied, err := cluster.Open(ctx, cluster.Config{Servers: servers, Dir: dir, Logger: slog.Default()})
		if err != nil {
			return nil, err
		}
		log, local, owners = copied, copied.Log, copied.Owners("this", 2*time.Second)
	} else {
		if local, err = eventlog.Open(dir, eventlog.Options{Logger: slog.Default()}); err != nil {
			return nil, err
		}
		log = local
	}
	b.log.Store(log)
	pusher, err := push.New(push.Config{Log: local, Owners: owners, Dir: filepath.Join(dir, "subscribers"), Logger: slog.Default(), Publish: ReplyPublisher(log, nil)}, subscribers)
	if err != nil {
		log.Close()
		return nil, err
	}
	origins := env.Origins("ALLOWED_ORIGINS", "http://localhost:3000")
	return &service.Service{
		Routes:     New(Config{Log: log, Pusher: pusher, Stopping: ctx, ReplyOnly: strings.Fields(env.String("REPLY_ONLY_TYPES", "")), Origins: origins}).Routes(),
		Origins:    origins,
		Background: []func(context.Context) error{pusher.Run},
		Close:      log.Close,
	}, nil
}

// environment is what a bus reads: names and values in turn, and a default for
// the others that suits a test.
func environment(t testing.TB, env ...string) func(string) (string, bool) {
	variables := map[string]string{"LOG_LEVEL": "ERROR+4"}
	for pair := range slices.Chunk(env, 2) {
		variables[pair[0]] = pair[1]
	}
	if variables["SUBSCRIBERS_FILE"] == "" {
		variables["SUBSCRIBERS_FILE"] = subscribersFile(t, "[]")
	}
	if variables["DATA_DIR"] == "" {
		variables["DATA_DIR"] = t.TempDir()
	}
	return func(name string) (string, bool) { v, set := variables[name]; return v, set }
}

// stop stops the bus and waits until it has.
func (b *runningBus) stop() {
	b.t.Helper()
	b.kill()
	b.client.CloseIdleConnections() // else the bus waits for a last request on them
	select {
	case <-b.done:
	case <-time.After(20 * time.Second):
		b.t.Fatal("the bus does not stop")
	}
	if b.err != nil {
		b.t.Errorf("the bus stopped with %v", b.err)
	}
}

// restart stops the bus and starts another one on its log.
func (b *runningBus) restart(env ...string) *runningBus {
	b.t.Helper()
	b.stop()
	return startBusOn(b.t, b.dir, env...)
}

// reply is an answer that has been read.
type reply struct {
	status int
	header http.Header
	body   string
	err    error // what ended the body early
}

// send sends a request; header is names and values in turn.
func (b *runningBus) send(method, path, body string, header ...string) reply {
	b.t.Helper()
	r, err := b.try(method, path, strings.NewReader(body), header...)
	if err != nil {
		b.t.Fatal(err)
	}
	return r
}

// try is send for requests that may fail, from any goroutine.
func (b *runningBus) try(method, path string, body io.Reader, header ...string) (reply, error) {
	request, err := http.NewRequestWithContext(b.t.Context(), method, b.url+path, body)
	if err != nil {
		return reply{}, err
	}
	for pair := range slices.Chunk(header, 2) {
		request.Header.Set(pair[0], pair[1])
	}
	response, err := b.client.Do(request)
	if err != nil {
		return reply{}, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	return reply{response.StatusCode, response.Header, string(text), err}, nil
}

// post publishes body and expects it to be stored.
func (b *runningBus) post(contentType, body string) (answer wire.Receipt) {
	b.t.Helper()
	r := b.send("POST", "/events", body, "Content-Type", contentType)
	r.wantJSON(b.t, http.StatusOK, &answer)
	return answer
}

// fill publishes n events of the type with data {"n":1} and so on.
func (b *runningBus) fill(typ string, n int) {
	b.t.Helper()
	for from := 0; from < n; from += 1000 {
		var batch bytes.Buffer
		for i := from; i < min(n, from+1000); i++ {
			fmt.Fprintf(&batch, `,{"type":%q,"subject":"s%d","data":{"n":%d}}`, typ, i%7, i+1)
		}
		batch.WriteByte(']')
		batch.Bytes()[0] = '['
		b.send("POST", "/events", batch.String(), "Content-Type", wire.Batch).wantJSON(b.t, http.StatusOK, nil)
	}
}

// stored is an event as GET /events gives it.
type stored struct {
	SpecVersion string          `json:"specversion"`
	Sequence    string          `json:"sequence"`
	ID          string          `json:"id"`
	Source      string          `json:"source"`
	Type        string          `json:"type"`
	Time        string          `json:"time"`
	Subject     string          `json:"subject"`
	Data        json.RawMessage `json:"data"`
	Fields      map[string]any  `json:"-"` // all of them
}

// compactData returns the data without white space.
func (e stored) compactData() string {
	var b bytes.Buffer
	if len(e.Data) > 0 && json.Compact(&b, e.Data) != nil {
		return "not JSON: " + string(e.Data)
	}
	return b.String()
}

// events returns the whole history.
func (b *runningBus) events() []stored {
	b.t.Helper()
	r := b.send("GET", "/events", "")
	var list []stored
	r.wantJSON(b.t, http.StatusOK, &list)
	var fields []map[string]any
	r.wantJSON(b.t, http.StatusOK, &fields)
	for i := range list {
		list[i].Fields = fields[i]
	}
	return list
}

// newest returns the last event of the history.
func (b *runningBus) newest() stored {
	b.t.Helper()
	all := b.events()
	if len(all) == 0 {
		b.t.Fatal("the log is empty")
	}
	return all[len(all)-1]
}

// wantJSON expects an answer with status and decodes it into v, unless that is
// nil.
func (r reply) wantJSON(t testing.TB, status int, v any) {
	t.Helper()
	if r.err != nil {
		t.Fatalf("the answer was cut off: %v", r.err)
	}
	if r.status != status || r.header.Get("Content-Type") != "application/json" {
		t.Fatalf("answered %d %s %.500s, want %d in JSON", r.status, r.header.Get("Content-Type"), r.body, status)
	}
	if v != nil {
		if err := json.Unmarshal([]byte(r.body), v); err != nil {
			t.Fatalf("%v in %.500s", err, r.body)
		}
	}
}

// wantProblem expects a problem that says in a sentence what is wrong.
func (r reply) wantProblem(t testing.TB, status int, field string) {
	t.Helper()
	var p struct {
		Type, Title, Detail, Field string
		Status                     int
	}
	if r.status != status || r.header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("answered %d %s %.500s, want the problem %d", r.status, r.header.Get("Content-Type"), r.body, status)
		return
	}
	if err := json.Unmarshal([]byte(r.body), &p); err != nil {
		t.Errorf("%v in %.500s", err, r.body)
	}
	if p.Type != "about:blank" || p.Title != http.StatusText(status) || p.Status != status || p.Field != field {
		t.Errorf("the problem is %s, want status %d and field %q", r.body, status, field)
	}
	if len(p.Detail) < 20 || len(p.Detail) > 400 || !strings.HasSuffix(p.Detail, ".") {
		t.Errorf("the detail is not a sentence that helps: %q", p.Detail)
	}
	for _, leak := range []string{"goroutine", ".go:", "go-json", "jsontext", "main."} {
		if strings.Contains(r.body, leak) {
			t.Errorf("the answer shows its inside: %s", r.body)
		}
	}
}
