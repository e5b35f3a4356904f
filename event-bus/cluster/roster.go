package cluster

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go"

	"miniblog/internal/event"
)

// Roster knows who takes part in the cluster: the copies of the bus, which answer
// one another on a subject of their own, and the servers that keep the stream.
// Nobody is asked unless somebody looks, and then once a second at most.
type Roster struct {
	log  *Log
	name string // this process, for people

	asking  sync.Mutex // held while others are asked: those who look share the answer
	asked   time.Time
	members Members
	copies  map[string]*known // other copies, by their lasting name
}

// Members is who takes part.
type Members struct {
	Copies  []Copy   `json:"copies"` // this one first
	Servers []Server `json:"servers"`
	Stream  Stream   `json:"stream"`
	Error   string   `json:"error,omitzero"` // why the rest is what was known before
}

// Copy is one copy of the bus.
type Copy struct {
	Name  string         `json:"name"` // of the process, as owners of subscribers are named
	Copy  string         `json:"copy"` // kept with its folder, whatever the process
	Last  event.Sequence `json:"last"`
	State string         `json:"state"` // up, joining, stopped, or away: it does not answer
	Why   string         `json:"why,omitzero"`
}

// Server is one of the NATS servers that keep the stream.
type Server struct {
	Name   string `json:"name"`
	Leader bool   `json:"leader,omitzero"` // it gives the events their order
	State  string `json:"state"`           // up, behind or offline
	Behind uint64 `json:"behind"`          // operations that it has not stored yet
}

// Stream is what the servers keep.
type Stream struct {
	Messages uint64 `json:"messages"`
	Bytes    uint64 `json:"bytes"`
	Limit    int64  `json:"limit,omitzero"` // of the bytes; 0: none
}

// known is another copy, and how many questions in a row it left unanswered.
type known struct {
	Copy
	unanswered int
}

const (
	copiesSubject = "miniblog.copies" // where every copy says how it is doing
	askEvery      = time.Second
	askWithin     = 400 * time.Millisecond
	awayAfter     = 2    // questions; one may be lost
	forgottenAt   = 1000 // questions
	mostCopies    = 100
	silentFor     = 5 * time.Second // the servers' heartbeat is one second
)

// Roster returns who takes part, and lets this copy answer the others until the
// log is closed. name names this process to people.
func (l *Log) Roster(name string) (*Roster, error) {
	r := &Roster{log: l, name: name, members: Members{Copies: []Copy{}, Servers: []Server{}}, copies: map[string]*known{}}
	_, err := l.conn.Subscribe(copiesSubject, func(m *nats.Msg) {
		if text, err := json.Marshal(r.self()); err == nil {
			m.Respond(text) // if it is lost, whoever asked asks again
		}
	})
	return r, err
}

// self says how this copy is doing.
func (r *Roster) self() Copy {
	c := Copy{Name: r.name, Copy: r.log.name, Last: r.log.Last(), State: "up"}
	if err := r.log.Failure(); err != nil {
		c.State, c.Why = "stopped", err.Error()
	} else if err := r.log.Ready(); err != nil {
		c.State, c.Why = "joining", err.Error()
	}
	return c
}

// Members returns who takes part. It asks the others, if nobody has asked within
// the last second, which takes most of one.
func (r *Roster) Members(ctx context.Context) Members {
	r.asking.Lock()
	defer r.asking.Unlock()
	if time.Since(r.asked) < askEvery {
		return r.members
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), attemptWithin) // others may wait for the answer
	defer cancel()
	m := Members{Servers: r.members.Servers, Stream: r.members.Stream}
	err := r.askCopies(ctx)
	if err == nil {
		m.Servers, m.Stream, err = r.askServers(ctx)
	}
	if err != nil {
		m.Error = "The NATS servers do not answer: " + err.Error()
	}
	m.Copies = []Copy{r.self()}
	for _, name := range slices.Sorted(maps.Keys(r.copies)) {
		c := r.copies[name].Copy
		if r.copies[name].unanswered >= awayAfter {
			c.State, c.Why = "away", ""
		}
		m.Copies = append(m.Copies, c)
	}
	r.members, r.asked = m, time.Now()
	return m
}

// askCopies asks how the other copies are doing. Its error says that nobody could
// be asked.
func (r *Roster) askCopies(ctx context.Context) error {
	inbox := r.log.conn.NewRespInbox()
	for name, c := range r.copies {
		if c.unanswered++; c.unanswered > forgottenAt {
			delete(r.copies, name)
		}
	}
	answers, err := r.log.conn.SubscribeSync(inbox)
	if err != nil {
		return err
	}
	defer answers.Unsubscribe()
	if err := r.log.conn.PublishRequest(copiesSubject, inbox, nil); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	for {
		m, err := answers.NextMsgWithContext(ctx)
		if err != nil {
			return nil // these are all who answer
		}
		var c Copy
		if json.Unmarshal(m.Data, &c) != nil || c.Copy == "" || c.Copy == r.log.name {
			continue
		}
		if len(r.copies) < mostCopies || r.copies[c.Copy] != nil {
			r.copies[c.Copy] = &known{Copy: c}
		}
	}
}

// askServers asks the leader of the stream who keeps it.
func (r *Roster) askServers(ctx context.Context) ([]Server, Stream, error) {
	stream, err := r.log.js.Stream(ctx, streamName)
	if err != nil {
		return r.members.Servers, r.members.Stream, err
	}
	info := stream.CachedInfo()
	kept := Stream{Messages: info.State.Msgs, Bytes: info.State.Bytes, Limit: max(info.Config.MaxBytes, 0)}
	servers := []Server{}
	if info.Cluster == nil {
		return servers, kept, nil
	}
	if info.Cluster.Leader != "" {
		servers = append(servers, Server{Name: info.Cluster.Leader, Leader: true, State: "up"})
	}
	for _, p := range info.Cluster.Replicas {
		s := Server{Name: p.Name, State: "up", Behind: p.Lag}
		if !p.Current {
			s.State = "behind"
		}
		// Whoever was killed has not said that it leaves. One whom this leader has never
		// heard has no time since: a follower keeps none (raft.go of nats-server).
		unheard := p.Active == 0 && !p.Current
		if p.Offline || unheard || p.Active > silentFor {
			s.State = "offline"
		}
		servers = append(servers, s)
	}
	slices.SortFunc(servers, func(a, b Server) int { return cmp.Compare(a.Name, b.Name) })
	return servers, kept, nil
}
