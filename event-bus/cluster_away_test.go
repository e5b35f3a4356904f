package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"miniblog/event-bus/cluster"
	"miniblog/event-bus/cluster/natstest"
	"miniblog/test/wait"
)

// TestCopyAnswersWhileItsServersAreAway: whoever looks gets an answer within five
// seconds, however many look and whatever waits to be published; GET /console/cluster
// says that the servers do not answer.
func TestCopyAnswersWhileItsServersAreAway(t *testing.T) {
	t.Parallel()
	servers := natstest.Start(t, natstest.Options{Links: true}) // and so the copy hears of no way around its links
	var links []*natstest.Link
	var through []string
	for _, s := range servers.Servers {
		link := natstest.NewLink(t, strings.TrimPrefix(s.URL, "nats://"))
		links, through = append(links, link), append(through, "nats://"+link.Addr)
	}
	b := startBusOn(t, t.TempDir(), "NATS_URL", strings.Join(through, ","))
	b.publish(t, `{"type":"T","id":"before"}`)
	wait.Nil(t, "three servers", func() error {
		if m := lookAtCluster(t, b.addr); len(m.Servers) != 3 || m.Error != "" {
			return fmt.Errorf("the cluster is %+v", m)
		}
		return nil
	})
	for _, away := range []struct {
		how  string
		away func(*natstest.Link)
	}{
		{"packets are lost", (*natstest.Link).Stall},
		{"connections are refused", (*natstest.Link).Cut},
	} {
		t.Run(away.how, func(t *testing.T) {
			for _, link := range links {
				away.away(link)
			}
			ctx, stop := context.WithCancel(t.Context())
			var publishers sync.WaitGroup
			defer publishers.Wait()
			defer stop()
			body := `{"type":"T","data":"` + strings.Repeat("x", 900_000) + `"}` // ten of them fill the connection's buffers
			for range 10 {
				publishers.Go(func() {
					for ctx.Err() == nil {
						r, _ := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+b.addr+"/events", strings.NewReader(body))
						r.Header.Set("Content-Type", "application/json")
						if response, err := http.DefaultClient.Do(r); err == nil {
							io.Copy(io.Discard, response.Body)
							response.Body.Close()
						}
					}
				})
			}
			wait.Nil(t, "that the servers do not answer", func() error {
				if m := lookAtCluster(t, b.addr); m.Error == "" || len(m.Servers) != 3 || len(m.Copies) != 1 {
					return fmt.Errorf("the cluster is %+v", m)
				}
				return nil
			})
			var looking sync.WaitGroup
			for _, path := range []string{"/console/cluster", "/console/log", "/console/events", "/subscribers", "/healthz", "/metrics", "/events?limit=1", "/"} {
				for range 20 {
					looking.Go(func() {
						if status, took := look(t, b.addr, path); status != http.StatusOK || took > 5*time.Second {
							t.Errorf("GET %s is answered %d after %v", path, status, took)
						}
					})
				}
			}
			looking.Wait()
		})
		for _, link := range links {
			link.Heal()
		}
		wait.Nil(t, "that all is well again", func() error {
			if m := lookAtCluster(t, b.addr); m.Error != "" {
				return fmt.Errorf("the cluster is %+v", m)
			}
			return nil
		})
	}
	b.publish(t, `{"type":"T","id":"after"}`)
	http.DefaultClient.CloseIdleConnections()
}

func look(t *testing.T, addr, path string) (status int, took time.Duration) {
	began := time.Now()
	response, err := http.Get("http://" + addr + path)
	if err != nil {
		t.Error(err)
		return 0, time.Since(began)
	}
	defer response.Body.Close()
	io.Copy(io.Discard, response.Body)
	return response.StatusCode, time.Since(began)
}

func lookAtCluster(t *testing.T, addr string) (m cluster.Members) {
	t.Helper()
	began := time.Now()
	response, err := http.Get("http://" + addr + "/console/cluster")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if err := json.NewDecoder(response.Body).Decode(&m); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("GET /console/cluster is answered after %v", took)
	}
	return m
}
