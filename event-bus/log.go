package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"miniblog/event-bus/api"
	"miniblog/event-bus/cluster"
	"miniblog/event-bus/eventlog"
	"miniblog/event-bus/move"
	"miniblog/event-bus/push"
	"miniblog/internal/service"
)

// openedLog is the log that this process serves.
type openedLog struct {
	owner
	local  *eventlog.Log   // what is read
	owners push.Owners     // who of several copies delivers to which subscriber; nil: this one
	roster *cluster.Roster // who takes part in the cluster; nil: there is none

	kept func(context.Context) (map[string]push.Source, error)
}

// Kept implements move.Source.
func (l *openedLog) Kept(ctx context.Context) (map[string]push.Source, error) { return l.kept(ctx) }

// owner is an eventlog.Log, or the cluster.Log around one.
type owner interface {
	api.Log
	Failure() error
	Ready() error
	Close() error
}

// logConfig reads which log this is. Without servers, it is one of this machine
// alone.
func logConfig(env *service.Env) cluster.Config {
	return cluster.Config{
		Dir:     env.Dir("DATA_DIR", "data/event-bus"),
		Servers: env.String("NATS_URL", ""), CredentialsFile: env.String("NATS_CREDENTIALS_FILE", ""),
		Logger: slog.Default(),
	}
}

// openLog opens the log: alone, or as a copy of the one that the NATS servers
// keep. name names this copy to people.
func openLog(ctx context.Context, config cluster.Config, name string) (*openedLog, error) {
	if config.Servers == "" {
		log, err := eventlog.Open(config.Dir, eventlog.Options{Logger: slog.Default()})
		kept := func(context.Context) (map[string]push.Source, error) { return push.InFolder(subscribersDir(config)) }
		return &openedLog{owner: alone{log}, local: log, kept: kept}, err
	}
	log, err := cluster.Open(ctx, config)
	if err != nil {
		return nil, err
	}
	roster, err := log.Roster(name)
	if err != nil {
		return nil, errors.Join(err, log.Close())
	}
	owners := log.Owners(name, cluster.Lease)
	return &openedLog{owner: log, local: log.Log, owners: owners, roster: roster, kept: owners.Kept}, nil
}

// subscribersDir is where a bus that is alone keeps its subscribers' cursors.
func subscribersDir(config cluster.Config) string { return filepath.Join(config.Dir, move.Subscribers) }

// mayServe says why the log in a folder must not be published to: what is added
// to a copy outside of its cluster would part it from the others.
func mayServe(config cluster.Config) error {
	if config.Servers == "" && cluster.IsCopy(config.Dir) {
		return fmt.Errorf("it is a copy of a cluster's log: set NATS_URL, or make a log of one machine of it with \"DATA_DIR=%s event-bus export DIR\"", config.Dir)
	}
	return nil
}

// thisProcess names this process to people where nobody else has: by its host,
// which in a container is its own.
func thisProcess() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unnamed"
	}
	if os.Getpid() == 1 {
		return host
	}
	return fmt.Sprintf("%.40s:%d", host, os.Getpid())
}

// alone is a log without other copies: it is ready once it is open.
type alone struct{ *eventlog.Log }

func (alone) Ready() error { return nil }
