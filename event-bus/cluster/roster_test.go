package cluster_test

import (
	"fmt"
	"slices"
	"testing"

	"miniblog/event-bus/cluster"
	"miniblog/event-bus/cluster/natstest"
	"miniblog/test/wait"
)

func TestEveryCopyKnowsWhoTakesPart(t *testing.T) {
	t.Parallel()
	servers := natstest.Start(t, natstest.Options{})
	var rosters []*cluster.Roster
	var logs []*cluster.Log
	for _, name := range []string{"a", "b", "c"} {
		l := open(t, servers, t.TempDir())
		roster, err := l.Roster(name)
		if err != nil {
			t.Fatal(err)
		}
		rosters, logs = append(rosters, roster), append(logs, l)
	}
	mustAppend(t, logs[0], lines(t, "one", 1))
	states := func(m cluster.Members) (copies, kept []string) {
		for _, c := range m.Copies {
			copies = append(copies, c.Name+" "+c.State+" "+c.Last.String()[18:])
		}
		for _, s := range m.Servers {
			kept = append(kept, s.Name+" "+s.State)
		}
		slices.Sort(copies)
		return copies, kept
	}
	await := func(i int, wantCopies, wantServers []string) (m cluster.Members) {
		t.Helper()
		wait.Nil(t, "the members of the cluster", func() error {
			m = rosters[i].Members(t.Context())
			if copies, kept := states(m); !slices.Equal(copies, wantCopies) || !slices.Equal(kept, wantServers) || m.Error != "" {
				return fmt.Errorf("there are %v on %v (%s)", copies, kept, m.Error)
			}
			return nil
		})
		return m
	}
	well := []string{"n1 up", "n2 up", "n3 up"}
	for i, name := range []string{"a", "b", "c"} {
		m := await(i, []string{"a up 01", "b up 01", "c up 01"}, well)
		if m.Copies[0].Name != name {
			t.Errorf("%s lists itself after others: %v", name, m.Copies)
		}
		if m.Stream.Messages == 0 || m.Stream.Bytes == 0 || m.Stream.Limit == 0 {
			t.Errorf("the stream is %+v", m.Stream)
		}
		if leaders := slices.DeleteFunc(slices.Clone(m.Servers), func(s cluster.Server) bool { return !s.Leader }); len(leaders) != 1 {
			t.Errorf("%d servers lead: %v", len(leaders), m.Servers)
		}
	}

	closeLog(t, logs[2])
	servers.Servers[2].Kill()
	await(0, []string{"a up 01", "b up 01", "c away 01"}, []string{"n1 up", "n2 up", "n3 offline"})
	for _, s := range servers.Servers {
		s.Kill()
	}
	waitFor(t, "that no server answers, beside what was known before", func() bool {
		m := rosters[0].Members(t.Context())
		copies, _ := states(m)
		return m.Error != "" && len(m.Servers) == 3 && slices.Equal(copies, []string{"a up 01", "b away 01", "c away 01"})
	})
}
