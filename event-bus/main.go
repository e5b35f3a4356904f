// Event-bus stores every event and hands it to whoever wants it: services fetch
// the log from where they stand, and subscribers are pushed what they asked for.
//
// Its law: what is answered with 200 is on disk.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"strings"

	"miniblog/event-bus/activity"
	"miniblog/event-bus/api"
	"miniblog/event-bus/console"
	"miniblog/event-bus/metrics"
	"miniblog/event-bus/push"
	"miniblog/internal/service"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] != "ready" {
		os.Exit(offline(os.Args[1:], os.LookupEnv, os.Stdout, os.Stderr))
	}
	service.Main("event-bus", "localhost:4005", open)
}

// open builds the service.
func open(ctx context.Context, env *service.Env) (*service.Service, error) {
	config := logConfig(env)
	dir := config.Dir
	origins := env.Origins("ALLOWED_ORIGINS", "http://localhost:3000")
	subscribers := push.Defaults()
	if file := env.String("SUBSCRIBERS_FILE", ""); file != "" {
		text, err := os.ReadFile(file)
		if err == nil {
			subscribers, err = push.Parse(text)
		}
		if err != nil {
			return nil, fmt.Errorf("SUBSCRIBERS_FILE=%q: %w", file, err)
		}
	}
	name := env.String("COPY_NAME", thisProcess())
	replyOnly := strings.FieldsFunc(env.String("REPLY_ONLY_TYPES", ""), func(c rune) bool { return c == ',' || c == ' ' })
	access := console.NewAccess(env.String("CONSOLE_TOKEN", ""), env.OnlyThisMachine())
	if err := env.Err(); err != nil {
		return nil, nil // Run tells it
	}
	var log *openedLog
	err := mayServe(config)
	if err == nil {
		log, err = openLog(ctx, config, name)
	}
	if err != nil {
		return nil, fmt.Errorf("opening the log in %s: %w", dir, withCure(dir, err))
	}
	recorder := activity.New(log.local, dir)
	pusher, err := push.New(push.Config{
		Log: log.local, Owners: log.owners, Dir: subscribersDir(config), Logger: slog.Default(), Activity: recorder, Publish: api.ReplyPublisher(log, recorder),
	}, subscribers)
	if err != nil {
		log.Close()
		return nil, err
	}
	slog.Info("the log is open", "log", log.ID(), "last", log.Last(), "subscribers", len(subscribers))
	routes := api.New(api.Config{Log: log, Pusher: pusher, Activity: recorder, Stopping: ctx, ReplyOnly: replyOnly, Origins: origins}).Routes()
	routes["GET /activity"] = func(w http.ResponseWriter, r *http.Request) error { return recorder.Serve(ctx, w, r) }
	for pattern, handler := range routes { // what one may do to subscribers, and what is seen of everybody
		if strings.HasPrefix(pattern, "POST /subscribers/") || pattern == "GET /activity" {
			routes[pattern] = access.Guard(handler)
		}
	}
	pages, err := console.Routes(console.Config{Log: log.local, Roster: log.roster, Access: access, Stopping: ctx})
	if err != nil {
		return nil, errors.Join(err, log.Close())
	}
	maps.Copy(routes, pages)
	stopMetrics := metrics.Watch(metrics.Bus{Log: log.local, Dir: dir, Failure: log.Failure, Pusher: pusher, Activity: recorder})
	return &service.Service{
		Routes:     routes,
		Origins:    origins,
		Background: []func(context.Context) error{pusher.Run},
		Alive:      log.Failure,
		Ready:      log.Ready,
		Close:      func() error { stopMetrics(); return log.Close() },
	}, nil
}
