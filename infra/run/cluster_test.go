//go:build unix

package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"miniblog/event-bus/cluster"
	"miniblog/test/harness"
)

func TestClusterOnOneMachineOutlivesAnyOneOfItsProcesses(t *testing.T) {
	r := prepare(t, true)
	r.start(t)
	r.awaitOutput(t, "The blog runs")
	r.writeAndAwaitApproval(t)
	victims := []string{"event-bus-1", "nats-1"}
	for _, name := range victims {
		if err := syscall.Kill(r.pid(t, name), syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		r.writeAndAwaitApproval(t) // two of three are there
		r.awaitOutput(t, name+" has died (signal: killed): it is started again in 250ms")
		r.awaitOutput(t, name+" is ready again")
	}
	t.Run("all three buses have the same log", func(t *testing.T) {
		harness.Eventually(t, limit, func() error {
			var logs [copies]string
			for i := range copies {
				answer, err := harness.Send(t.Context(), "GET", r.url(fmt.Sprintf("event-bus-%d", i+1))+"/events", "")
				if err != nil {
					return err
				}
				logs[i] = string(answer.Body)
			}
			if logs[0] != logs[1] || logs[1] != logs[2] || strings.Count(logs[0], `"type":"PostCreated"`) < 1+len(victims) {
				return fmt.Errorf("the logs:\n%s", strings.Join(logs[:], "\n"))
			}
			return nil
		})
	})
	t.Run("the console calls each bus by its name", func(t *testing.T) {
		harness.Eventually(t, limit, func() error {
			answer, err := harness.Send(t.Context(), "GET", r.url("event-bus-1")+"/console/cluster", "")
			if err != nil {
				return err
			}
			var members cluster.Members
			if err := json.Unmarshal(answer.Body, &members); err != nil {
				return err
			}
			var names []string
			for _, copy := range members.Copies {
				names = append(names, copy.Name)
			}
			if slices.Sort(names); !slices.Equal(names, []string{"event-bus-1", "event-bus-2", "event-bus-3"}) {
				return fmt.Errorf("it calls them %q", names)
			}
			return nil
		})
	})
	t.Run("one signal stops all of it", func(t *testing.T) {
		begun := time.Now()
		if err := r.stop(t, syscall.SIGINT); err != nil {
			t.Errorf("it ended with %v", err)
		}
		if took := time.Since(begun); took > 7*time.Second {
			t.Errorf("it took %v", took)
		}
		r.nothingListens(t)
		if n := strings.Count(r.out.String(), "msg=stopped"); n != copies+5 {
			t.Errorf("%d of %d services stopped in good order", n, copies+5)
		}
		if strings.Contains(r.out.String(), "did not stop in time") {
			t.Error("a process had to be killed")
		}
	})
}
