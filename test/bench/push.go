package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"time"

	"miniblog/internal/event"
)

// pushing measures how fast a subscriber that takes its time is served. It sleeps
// for a millisecond and oversleeps: when nothing else is to be done, Go waits in
// epoll for whole milliseconds. So the ideal is what 16 lanes would get from the
// time that the subscriber really takes.
func (b *bench) pushing(ctx context.Context, o options) error {
	const events, subjects, lanes = 20_000, 1000, 16
	const answerAfter = time.Millisecond
	bus, err := b.start(ctx, "event-bus", "push", noSubscribers(b.dir))
	if err != nil {
		return err
	}
	var batch []event.Event
	for i := range events {
		batch = append(batch, event.New(event.NewID(), "/bench", "Pushed", strconv.Itoa(i%subjects), i))
	}
	body, err := json.Marshal(batch)
	if err != nil {
		return err
	}
	r, err := http.Post("http://"+bus.addr+"/events", "application/cloudevents-batch+json", bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Body.Close()
	bus.stop()

	arrived := make(chan time.Time, events)
	var busy atomic.Int64 // nanoseconds that the subscriber took in all
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	subscriber := http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		begin := time.Now()
		io.Copy(io.Discard, r.Body)
		time.Sleep(answerAfter)
		now := time.Now()
		busy.Add(int64(now.Sub(begin)))
		arrived <- now
	})}
	go subscriber.Serve(listener)
	defer subscriber.Close()
	file := filepath.Join(b.dir, "one-subscriber.json")
	entry := fmt.Sprintf(`[{"name":"bench","url":"http://%s/"}]`, listener.Addr())
	if err := os.WriteFile(file, []byte(entry), 0o644); err != nil {
		return err
	}
	if _, err := b.start(ctx, "event-bus", "push", "SUBSCRIBERS_FILE="+file); err != nil {
		return err
	}
	var first, last time.Time
	for i := range events {
		select {
		case last = <-arrived:
		case <-ctx.Done():
			return ctx.Err()
		}
		if i == 0 {
			first = last
		}
	}
	took := time.Duration(busy.Load() / events)
	rate, ideal := float64(events)/last.Sub(first).Seconds(), lanes/took.Seconds()
	b.rows = append(b.rows, row{what: fmt.Sprintf("push %d events of %d subjects to a subscriber that sleeps for 1 ms", events, subjects),
		figure: fmt.Sprintf("%.0f/s", rate), baseline: fmt.Sprintf("%.0f/s in %d lanes at %v", ideal, lanes, took.Round(10*time.Microsecond)),
		ratio: fmt.Sprintf("%.2f", rate/ideal), target: "≥ 0.60", ok: rate/ideal >= 0.6})
	return nil
}
