package activity

import (
	"context"
	"net"
	"net/http"
	"regexp"
	"time"

	"miniblog/internal/event"
	"miniblog/internal/wire"
)

// What is kept of followers.
const (
	mostFollowers = 1000
	awayLimit     = 10 * time.Minute // then one that left is forgotten
)

// Client is who publishes, or fetches and waits for what comes.
type Client struct {
	Name    string `json:"name"`
	Copy    string `json:"copy,omitzero"`
	Address string `json:"address"` // the host it calls from
}

// following is how a follower is doing. The recorder's mutex guards it.
type following struct {
	position event.Sequence // it has everything up to here: it asked for what follows
	sent     event.Sequence // the last event that it was sent
	requests int            // under way
	types    string         // that it asked for, separated by commas; "" is all
	seen     time.Time

	second time.Time // of seen, and how often it was told in it that
	told   int       // something was sent
}

// sentPerSecond is how often a second it is told that a follower was sent
// something: with a thousand followers nothing else would be remembered.
const sentPerSecond = 20

// tellsSent tells whether it is told now that something was sent.
func (f *following) tellsSent() bool {
	if second := time.Now().Truncate(time.Second); !second.Equal(f.second) {
		f.second, f.told = second, 0
	}
	f.told++
	return f.told <= sentPerSecond
}

// agent is how our services name themselves: miniblog-query/1.2 (a-copy). Others
// are known by their first product.
var agent = regexp.MustCompile(`^(?:miniblog-)?([^\s/()]{1,64})(?:/\S*)?(?: \(([^()]{1,64})\))?`)

// clientOf reads who sent a request.
func clientOf(userAgent, remoteAddr string) Client {
	c := Client{Name: "unnamed"}
	if m := agent.FindStringSubmatch(userAgent); m != nil {
		c.Name, c.Copy = valid(m[1]), valid(m[2])
		if c.Name == "Mozilla" {
			c.Name, c.Copy = "browser", ""
		}
	}
	c.Address, _, _ = net.SplitHostPort(remoteAddr)
	return c
}

// Visit is a request that waits for events.
type Visit struct {
	recorder *Recorder
	follower Client
	request  context.Context
}

// Visited says that a request asks for the events after a sequence and waits
// for them. The visit must be ended.
func (r *Recorder) Visited(request *http.Request, after event.Sequence) *Visit {
	if r == nil {
		return nil
	}
	v := &Visit{r, clientOf(request.UserAgent(), request.RemoteAddr), request.Context()}
	r.mu.Lock()
	defer r.mu.Unlock()
	f := r.followers[v.follower]
	if f == nil {
		r.makeRoomLocked()
		f = &following{}
		r.followers[v.follower] = f
	}
	f.requests++
	f.position = after
	f.types = request.URL.Query().Get(wire.Types)
	r.followedLocked(v.follower, f, "asked")
	return v
}

// Sent says that the follower was sent everything that it wants up to a sequence.
func (v *Visit) Sent(last event.Sequence) {
	if v != nil {
		v.update("sent", func(f *following) { f.sent = last })
	}
}

// Passed says that the follower has everything up to a sequence, as far as the
// request under way can tell.
func (v *Visit) Passed(last event.Sequence) {
	if v != nil {
		v.update("passed", func(f *following) { f.position, f.sent = last, last })
	}
}

// End says that the request is over. If its connection was lost, so is the
// follower, until it asks again.
func (v *Visit) End() {
	if v == nil {
		return
	}
	did := ""
	if v.request.Err() != nil {
		did = "left"
	}
	v.update(did, func(f *following) { f.requests-- })
}

// update changes what is known of the follower, and records what it did unless
// that is nothing.
func (v *Visit) update(did string, change func(*following)) {
	v.recorder.mu.Lock()
	defer v.recorder.mu.Unlock()
	f := v.recorder.followers[v.follower]
	if f == nil {
		return // forgotten, as there were too many
	}
	change(f)
	if did == "left" && f.requests > 0 {
		return // by one way only
	}
	if did == "sent" && !f.tellsSent() {
		return
	}
	if did != "" {
		v.recorder.followedLocked(v.follower, f, did)
	}
}

func (r *Recorder) followedLocked(who Client, f *following, did string) {
	f.seen = time.Now()
	r.recordLocked(&followed{who, did, f.position, f.sent, f.seen, f.requests, f.types})
}

// Followed is how a follower is doing.
type Followed struct {
	Client
	Has      event.Sequence // it was sent everything up to here
	Requests int            // under way
}

// Followers returns the followers that have a request under way, or had one
// lately.
func (r *Recorder) Followers(lately time.Duration) (all []Followed) {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for who, f := range r.followers {
		if f.requests > 0 || time.Since(f.seen) < lately {
			all = append(all, Followed{who, max(f.position, f.sent), f.requests})
		}
	}
	return all
}

// makeRoomLocked forgets followers that are long gone, and the one that was not
// seen for longest if there are too many.
func (r *Recorder) makeRoomLocked() {
	var oldest Client
	var seen time.Time
	for who, f := range r.followers {
		if f.requests == 0 && time.Since(f.seen) > awayLimit {
			delete(r.followers, who)
		} else if seen.IsZero() || f.seen.Before(seen) {
			oldest, seen = who, f.seen
		}
	}
	if len(r.followers) >= mostFollowers {
		delete(r.followers, oldest)
	}
}
