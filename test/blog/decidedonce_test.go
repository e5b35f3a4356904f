package blog

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"miniblog/test/harness"
)

// TestOtherTermsChangeNoCommentThatIsDecided: what the bus has forgotten the ids
// of, it has decided again by a replay and by a restore. With the terms of that day
// a rejected text became public, and an approved one vanished.
func TestOtherTermsChangeNoCommentThatIsDecided(t *testing.T) {
	t.Parallel()
	const forgotten, each = 101_000, 1000
	blog := harness.NewBlog(t, harness.Config{})
	terms, moderation := filepath.Join(t.TempDir(), "terms"), blog.Moderation.Copies[0]
	block := func(term string) {
		if err := os.WriteFile(terms, []byte(term+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	block("orange")
	moderation.Setenv("BLOCKED_TERMS_FILE", terms)
	for _, p := range blog.Processes() {
		p.Start()
	}
	blog.AwaitReady()
	post := blog.MustPost(t, "A post")
	blog.MustComment(t, post.ID, "What a fine apple")
	blog.MustComment(t, post.ID, "What a fine orange")
	before := decided(t, blog.API, post.ID, 2)
	if before[0].Status != "approved" || before[1].Status != "rejected" {
		t.Fatalf("the comments are %+v", before)
	}
	for i := 0; i < forgotten; i += each {
		publishBatch(t, blog.BusURL, i, each)
	}
	caughtUp(t, blog.API)
	blog.Bus.Stop()
	backup := filepath.Join(t.TempDir(), "backup")
	if err := os.CopyFS(backup, os.DirFS(blog.Bus.Dir)); err != nil {
		t.Fatal(err)
	}
	blog.Bus.Start()
	moderation.Stop()
	block("apple")
	moderation.Start()
	blog.AwaitReady()

	t.Run("a replay from the start", func(t *testing.T) {
		answer := harness.Must(harness.Send(t.Context(), http.MethodPost, blog.BusURL+"/subscribers/moderation/replay", `{"after":0}`, "Content-Type", "application/json"))(t)
		if answer.Status != http.StatusOK {
			t.Fatalf("answered %d %s", answer.Status, answer.Body)
		}
		decidedAgain(t, blog, post.ID, before)
	})
	t.Run("a restore, without the cursors and with a new id", func(t *testing.T) {
		blog.Bus.Stop()
		for _, path := range []string{blog.Bus.Dir, filepath.Join(backup, "id"), filepath.Join(backup, "subscribers")} {
			if _, err := os.Stat(path); err != nil {
				t.Fatal(err)
			}
			if err := os.RemoveAll(path); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.CopyFS(blog.Bus.Dir, os.DirFS(backup)); err != nil {
			t.Fatal(err)
		}
		blog.Bus.Start()
		blog.AwaitReady()
		decidedAgain(t, blog, post.ID, before)
	})
}

// decidedAgain waits until the comments of a post have other decisions in the log,
// and fails the test if one of them has changed by it.
func decidedAgain(t *testing.T, blog *harness.Blog, postID string, before []harness.Comment) {
	t.Helper()
	harness.Eventually(t, limit, func() error {
		var decisions []harness.Event
		answer, err := harness.Send(t.Context(), http.MethodGet, blog.BusURL+"/events?type=CommentModerated", "")
		if err == nil {
			err = json.Unmarshal(answer.Body, &decisions)
		}
		if err != nil {
			return err
		}
		statuses := map[string][]string{}
		for _, e := range decisions {
			d := decode(t, e)
			statuses[d.ID] = append(statuses[d.ID], d.Status)
		}
		if a, b := statuses[before[0].ID], statuses[before[1].ID]; !slices.Equal(a, []string{"approved", "rejected"}) || !slices.Equal(b, []string{"rejected", "approved"}) {
			return fmt.Errorf("moderation has decided %q and %q", a, b)
		}
		return nil
	})
	// A comment on the same post is decided after them.
	var next harness.Comment
	harness.Eventually(t, limit, func() (err error) {
		next, err = blog.CreateComment(t.Context(), postID, "The next one", "")
		return err
	})
	harness.Eventually(t, limit, func() error {
		post, err := find(t.Context(), blog.API, postID)
		if err != nil {
			return err
		}
		all, err := blog.ListComments(t.Context(), postID)
		if err != nil {
			return err
		}
		for _, list := range [][]harness.Comment{post.Comments, all} {
			if len(list) != 3 || list[2].ID != next.ID || list[2].Status != "approved" {
				return fmt.Errorf("the next comment, %s, is not yet approved: %+v", next.ID, list)
			}
			if !slices.Equal(list[:2], before) {
				t.Fatalf("the comments were %+v and are %+v", before, list[:2])
			}
		}
		return nil
	})
}
