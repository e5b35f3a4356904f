package cluster_test

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"miniblog/event-bus/cluster"
	"miniblog/event-bus/cluster/natstest"
	"miniblog/event-bus/eventlog"
	"miniblog/internal/event"
)

func TestServersThatDoNotSyncAreRefused(t *testing.T) {
	t.Parallel() // most of it is waiting
	servers := natstest.Start(t, natstest.Options{SyncInterval: `"2m"`})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	l, err := cluster.Open(ctx, cluster.Config{Servers: servers.URL(), Dir: t.TempDir(), Logger: quiet})
	if err == nil {
		l.Close()
	}
	if err == nil || !strings.Contains(err.Error(), "sync_interval: always") {
		t.Errorf("opening on servers that sync every two minutes: %v", err)
	}
}

func TestAFullStreamRefusesAndGoesOnAnswering(t *testing.T) {
	t.Parallel() // most of it is waiting
	servers := natstest.Start(t, natstest.Options{MaxStore: "8MB"})
	l := open(t, servers, t.TempDir())
	defer closeLog(t, l)
	random := make([]byte, 200<<10)
	stored := 0
	for {
		rand.Read(random)
		_, err := l.Append(t.Context(), []event.Line{line(t, fmt.Sprintf("large-%d", stored), hex.EncodeToString(random))})
		if errors.Is(err, eventlog.ErrFull) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if stored++; stored > 100 {
			t.Fatal("20 MB went into 8 MB")
		}
	}
	if stored == 0 {
		t.Error("nothing was stored before the stream was full")
	}
	mustBeEqual(t, stored, l)
}
