package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"miniblog/internal/event"
)

// streamName is the stream's, logKey the key of the log's id in its metadata:
// it is stored when the stream is made, so that two copies that both are the
// first agree.
const (
	streamName = "miniblog"
	logKey     = "miniblog-log"
	replicas   = 3
)

// connect opens a connection that stays open: servers may come and go.
func connect(config Config) (*nats.Conn, error) {
	options := []nats.Option{
		nats.Name("miniblog-event-bus"), nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1),
		nats.ReconnectWait(100 * time.Millisecond), nats.ReconnectJitter(50*time.Millisecond, 50*time.Millisecond),
		nats.PingInterval(time.Second), nats.MaxPingsOutstanding(2), nats.Timeout(time.Second),
		nats.IgnoreAuthErrorAbort(), // credentials may be replaced
		nats.ReconnectBufSize(-1),   // what cannot be sent is an error now, and sent again by us
	}
	if file := config.CredentialsFile; file != "" {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		option := nats.UserCredentials(file)
		if !strings.Contains(string(text), "BEGIN NATS USER JWT") {
			if option, err = nats.NkeyOptionFromSeed(file); err != nil {
				return nil, fmt.Errorf("%s holds neither a user's credentials nor the seed of an nkey: %w", file, err)
			}
		}
		options = append(options, option)
	}
	return nats.Connect(config.Servers, options...)
}

// findStream returns the id of the stream's log. If there is no stream yet and
// begin is set, it makes one with a new log.
func (l *Log) findStream(ctx context.Context, begin bool) (id string, err error) {
	stream, err := l.js.Stream(ctx, streamName)
	if errors.Is(err, jetstream.ErrStreamNotFound) && begin {
		stream, err = l.makeStream(ctx, cmp.Or(l.config.NewLog, event.NewID()))
	}
	if err != nil {
		return "", err
	}
	config := stream.CachedInfo().Config
	switch {
	case config.Metadata[logKey] == "":
		return "", stopf("the stream %s was not made by this bus: it names no log", streamName)
	case config.Replicas < replicas || config.Storage != jetstream.FileStorage:
		return "", stopf("the stream %s is not kept on the disks of %d servers", streamName, replicas)
	case config.Retention != jetstream.LimitsPolicy || config.Discard != jetstream.DiscardNew || config.MaxAge != 0 || config.MaxMsgs > 0 || !config.DenyDelete || !config.DenyPurge:
		return "", stopf("the stream %s may lose messages: it must keep all, and refuse new ones when it is full", streamName)
	}
	return config.Metadata[logKey], nil
}

// makeStream makes the stream of the log with that id. Whoever comes second
// gets the first one's.
func (l *Log) makeStream(ctx context.Context, id string) (jetstream.Stream, error) {
	limit, err := l.room(ctx, 8) // push has one tenth
	if err != nil {
		return nil, err
	}
	stream, err := l.js.CreateStream(ctx, jetstream.StreamConfig{
		Name: streamName, Subjects: []string{subject}, Description: "the log of the miniblog's event bus",
		Storage: jetstream.FileStorage, Replicas: replicas, Retention: jetstream.LimitsPolicy, Discard: jetstream.DiscardNew,
		MaxBytes: limit, DenyDelete: true, DenyPurge: true, AllowAtomicPublish: true,
		Metadata: map[string]string{logKey: id},
	})
	if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
		return l.js.Stream(ctx, streamName)
	}
	return stream, err
}

// room returns so many tenths of the room that there is, in bytes; -1 is no limit.
// A server whose disk is full switches JetStream off, and an account that is full
// stores nothing at all: our streams must be full before.
func (l *Log) room(ctx context.Context, tenths int64) (int64, error) {
	servers, err := l.servers(ctx)
	if err != nil {
		return 0, err
	}
	account, err := l.js.AccountInfo(ctx)
	if err != nil {
		return 0, err
	}
	least := account.Limits.MaxStore / replicas // counts every replica
	if least <= 0 {
		least = math.MaxInt64
	}
	for _, s := range servers {
		if s.Data.Config.MaxStore > 0 {
			least = min(least, s.Data.Config.MaxStore)
		}
	}
	if least == math.MaxInt64 {
		return -1, nil
	}
	return least / 10 * tenths, nil
}

// serversSubject asks all servers how JetStream is configured. It is the system
// account's; nats.conf lets our account import it.
const serversSubject = "$SYS.REQ.SERVER.PING.JSZ"

// server is what a server says of itself.
type server struct {
	Server struct {
		Name string `json:"name"`
	} `json:"server"`
	Data struct {
		Disabled bool `json:"disabled"`
		Config   struct {
			MaxStore   int64 `json:"max_storage"`
			SyncAlways bool  `json:"sync_always"`
		} `json:"config"`
	} `json:"data"`
}

// servers asks the servers that can be reached.
func (l *Log) servers(ctx context.Context) ([]server, error) {
	inbox := l.conn.NewRespInbox()
	answers, err := l.conn.SubscribeSync(inbox)
	if err != nil {
		return nil, err
	}
	defer answers.Unsubscribe()
	if err := l.conn.PublishRequest(serversSubject, inbox, nil); err != nil {
		return nil, err
	}
	var all []server
	for wait := attemptWithin; ; wait = 300 * time.Millisecond {
		short, cancel := context.WithTimeout(ctx, wait)
		m, err := answers.NextMsgWithContext(short)
		cancel()
		if err != nil && len(all) == 0 {
			return nil, fmt.Errorf("no server answers on %s, which nats.conf must let this account import: %w", serversSubject, err)
		}
		if err != nil {
			return all, nil
		}
		var s server
		if err := json.Unmarshal(m.Data, &s); err != nil {
			return nil, fmt.Errorf("the answer on %s cannot be read: %w", serversSubject, err)
		}
		all = append(all, s)
	}
}

// checkServers refuses servers that do not sync each message to disk: with
// NATS's default a majority that loses power loses what was acknowledged.
func (l *Log) checkServers(ctx context.Context) error {
	servers, err := l.servers(ctx)
	if err != nil {
		return err
	}
	for _, s := range servers {
		if !s.Data.Disabled && !s.Data.Config.SyncAlways {
			return stopf("the NATS server %s may lose what it has acknowledged: its jetstream block must say \"sync_interval: always\"", s.Server.Name)
		}
	}
	return nil
}

// watchServers goes on looking: a server may be replaced.
func (l *Log) watchServers(ctx context.Context) {
	for pause(ctx, 10*time.Second) {
		var stopped *stopError
		if err := l.checkServers(ctx); errors.As(err, &stopped) {
			l.fail(err)
			return
		}
	}
}
