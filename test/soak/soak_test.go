// Package soak runs the blog's real processes for a long time under everything
// that its other tests do for a moment, and holds what each process takes at the
// end against what it took after its first minute.
//
// Its law: what is measured is measured between two rounds, when nobody is there, so that a goroutine, a descriptor
// or a megabyte too many is one that was left behind.
package soak

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"miniblog/test/harness"
)

var (
	soakFlag = flag.Bool("soak", false, "run the soak")
	soakFor  = flag.Duration("soak.for", 20*time.Minute, "how long")
	seed     = flag.Uint64("seed", 0, "of the choices whom to kill, to repeat them; 0 takes a new one")
)

func TestMain(m *testing.M) { harness.Main(m) }

// limit is how long anything may take that takes a moment, on a busy machine.
const limit = time.Minute

// soak is the blog and what was done to it.
type soak struct {
	*harness.Blog
	t      *testing.T
	choose *rand.Rand
	lives  map[*harness.Process]*life
	load   load
	done   struct{ rounds, refused, stalled, kills, logs int }
}

// Services are killed in the first half of the time. In the quarter after it the
// log changes under services that live on; every change ends the bus, which has
// the last quarter for itself. Load, stalled readers and bad input never stop.
func TestNothingIsLeftBehindHoweverLongItRuns(t *testing.T) {
	if !*soakFlag {
		t.Skip("NOT CHECKED without -soak: it takes 20 minutes; go test ./test/soak -soak -v -timeout=40m, shorter with -soak.for=2m")
	}
	if deadline, ok := t.Deadline(); ok && time.Until(deadline) < *soakFor+10*time.Minute {
		t.Fatalf("go test ends this too early: add -timeout=%v", *soakFor+20*time.Minute)
	}
	if *seed == 0 {
		*seed = rand.Uint64()
	}
	t.Logf("the choices can be repeated with -seed=%d", *seed)
	s := &soak{Blog: harness.NewBlog(t, harness.Config{}), t: t, choose: rand.New(rand.NewPCG(*seed, 0)), lives: map[*harness.Process]*life{}}
	for _, p := range s.Processes() {
		p.Setenv("GOMEMLIMIT", harness.LimitsOf(t, p.Name).GOMEMLIMIT)
		s.start(p)
	}
	s.AwaitReady()
	began := time.Now()
	firstMinute := min(time.Minute, *soakFor/8)
	for time.Since(began) < *soakFor || !s.haveBaselines() {
		over := time.Since(began)
		s.round(func() {
			switch {
			case over < *soakFor/2 && s.done.rounds%4 != 3:
				s.kill()
			case over < *soakFor*3/4:
				s.changeLog()
			}
		})
		s.takeBaselines(firstMinute)
		if t.Failed() {
			t.FailNow() // the rest would say it again
		}
	}
	t.Logf("%d rounds: %d posts, %d comments and %d reads; %d streams and %d clients that were stuck; %d bad requests refused; %d kills and %d new logs",
		s.done.rounds, s.load.posts.Load(), s.load.comments.Load(), s.load.reads.Load(), s.load.streams.Load(), s.done.stalled, s.done.refused, s.done.kills, s.done.logs)
	s.check()
}

// round lets everybody at the blog at once: visitors, clients who are stuck, and
// senders of nonsense. Then disturb, after which the blog has to work. What the
// round has opened ends with it.
func (s *soak) round(disturb func()) {
	s.t.Run("", func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		visitors := s.load.start(ctx, s.API)
		defer visitors.Wait()
		defer stop()
		s.works(t)
		s.stall(t)
		s.sendNonsense(t)
		disturb()
		s.AwaitReady()
		s.works(t)
		s.done.rounds++
	})
}

// works waits until a post gets a comment that is decided and read.
func (s *soak) works(t *testing.T) {
	t.Helper()
	harness.Eventually(t, limit, func() error {
		post, err := s.CreatePost(t.Context(), "Does it work?", "")
		if err != nil {
			return err
		}
		comment, err := s.CreateComment(t.Context(), post.ID, "It does", "")
		if err != nil {
			return err
		}
		harness.Eventually(t, limit, func() error {
			posts, err := s.FindPosts(t.Context(), post.ID)
			if err == nil && (len(posts) != 1 || len(posts[0].Comments) != 1 || posts[0].Comments[0].Status != "approved") {
				err = fmt.Errorf("the comment %s is not approved: %+v", comment.ID, posts)
			}
			return err
		})
		return nil
	})
}

func (s *soak) start(p *harness.Process) {
	p.Start()
	s.lives[p] = &life{began: time.Now()}
}

// kill ends one process as a crash does, and starts it again.
func (s *soak) kill() {
	all := s.Processes()
	p := all[s.choose.IntN(len(all))]
	p.Kill()
	s.start(p)
	s.done.kills++
}

// changeLog gives the bus an empty folder, and so a new log.
func (s *soak) changeLog() {
	s.Bus.Stop()
	s.Bus.LoseData()
	s.start(s.Bus)
	s.done.logs++
}
