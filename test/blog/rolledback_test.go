package blog

import (
	"fmt"
	"os"
	"slices"
	"testing"

	"miniblog/test/harness"
)

// TestRolledBackVolumeOfTheBusLeavesNoTraceInTheServices: the log has the same id and is
// as long as before, but other events are behind it. Query kept a post that the log did
// not have any more, and lacked one that it had, for good.
func TestRolledBackVolumeOfTheBusLeavesNoTraceInTheServices(t *testing.T) {
	t.Parallel()
	blog := harness.StartBlog(t, harness.Config{})
	kept := blog.MustPost(t, "Kept")
	caughtUp(t, blog.API)
	blog.Bus.Stop()
	volume := t.TempDir()
	if err := os.CopyFS(volume, os.DirFS(blog.Bus.Dir)); err != nil {
		t.Fatal(err)
	}
	blog.Bus.Start()
	blog.AwaitReady()
	lost := blog.MustPost(t, "Lost")
	blog.MustComment(t, lost.ID, "Lost, too")
	decided(t, blog.API, lost.ID, 1)
	followers := slices.Concat(blog.Posts.Copies, blog.Comments.Copies, blog.Query.Copies)
	for _, p := range append(followers, blog.Bus) {
		p.Stop()
	}
	blog.Bus.LoseData()
	if err := os.CopyFS(blog.Bus.Dir, os.DirFS(volume)); err != nil {
		t.Fatal(err)
	}
	blog.Bus.Start()
	blog.Bus.AwaitReady()
	instead := map[string]string{"id": "instead", "title": "Instead"}
	harness.Must(blog.Publish(t.Context(), "PostCreated", instead))(t)
	for range 10 { // beyond where the services were
		harness.Must(blog.Publish(t.Context(), "CoffeeBrewed", map[string]int{"cups": 1}))(t)
	}
	for _, p := range followers {
		p.Start()
	}
	blog.AwaitReady()

	want := []string{kept.ID, "instead"}
	slices.Sort(want)
	for name, list := range map[string]func() ([]harness.Post, error){
		"posts": func() ([]harness.Post, error) { return blog.ListPosts(t.Context()) },
		"query": func() ([]harness.Post, error) { return blog.ListBlog(t.Context()) },
	} {
		harness.Eventually(t, limit, func() error {
			posts, err := list()
			var ids []string
			for _, p := range posts {
				ids = append(ids, p.ID)
			}
			slices.Sort(ids)
			if err == nil && !slices.Equal(ids, want) {
				err = fmt.Errorf("%s has the posts %q, and the log %q", name, ids, want)
			}
			return err
		})
	}
	blog.MustComment(t, "instead", "Comments knows it")
	decided(t, blog.API, "instead", 1)
	if comments := harness.Must(blog.ListComments(t.Context(), lost.ID))(t); len(comments) > 0 {
		t.Errorf("comments still has %+v", comments)
	}
}
