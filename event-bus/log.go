package main

import (
	"context"
	"log/slog"

	"miniblog/event-bus/api"
	"miniblog/event-bus/cluster"
	"miniblog/event-bus/eventlog"
)

// openedLog is the log that this process serves.
type openedLog struct {
	owner
	local *eventlog.Log // what is read
}

// owner is an eventlog.Log, or the cluster.Log around one.
type owner interface {
	api.Log
	Failure() error
	Ready() error
	Close() error
}

// openLog opens the log in dir: alone, or as a copy of the one that the NATS
// servers keep.
func openLog(ctx context.Context, dir, servers, credentials string) (*openedLog, error) {
	if servers == "" {
		log, err := eventlog.Open(dir, eventlog.Options{Logger: slog.Default()})
		return &openedLog{alone{log}, log}, err
	}
	log, err := cluster.Open(ctx, cluster.Config{Servers: servers, CredentialsFile: credentials, Dir: dir, Logger: slog.Default()})
	if err != nil {
		return nil, err
	}
	return &openedLog{log, log.Log}, nil
}

// alone is a log without other copies: it is ready once it is open.
type alone struct{ *eventlog.Log }

func (alone) Ready() error { return nil }
