package blog

import (
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"testing"

	"golang.org/x/sync/errgroup"

	"miniblog/test/harness"
)

func TestCopiesOfAServiceAreOneService(t *testing.T) {
	t.Parallel()
	const copies = 2
	blog := harness.StartBlog(t, harness.Config{Copies: copies})
	comments := map[string]int{} // by post
	for i := range 6 {
		writer, other := blog.Copy(i%copies), blog.Copy((i+1)%copies)
		post := writer.MustPost(t, fmt.Sprintf("Through copy %d", i%copies+1))
		for j := range 4 {
			content, _ := numbered(j)
			other.MustComment(t, post.ID, content)
		}
		comments[post.ID] = 4
	}
	for i := range 6 {
		post := blog.MustPost(t, fmt.Sprintf("Through the proxy %d", i))
		blog.MustComment(t, post.ID, "Through the proxy, too")
		comments[post.ID] = 1
	}

	var first []harness.Post
	for i := range copies {
		api := blog.Copy(i)
		t.Run(fmt.Sprintf("everything is readable through copy %d", i+1), func(t *testing.T) {
			for id, count := range comments {
				decided(t, api, id, count)
			}
			posts := harness.Must(api.ListPosts(t.Context()))(t)
			for _, post := range posts {
				if comments[post.ID] == 0 {
					t.Errorf("posts has %+v, which nobody created", post)
				}
			}
			if len(posts) != len(comments) {
				t.Errorf("posts has %d posts, not %d", len(posts), len(comments))
			}
			read := harness.Must(api.ListBlog(t.Context()))(t)
			if first == nil {
				first = read
			}
			if !reflect.DeepEqual(read, first) {
				t.Errorf("this copy of query says\n%+v\nand the first one\n%+v", read, first)
			}
		})
	}
	t.Run("no event is stored twice", func(t *testing.T) {
		checkLog(t, blog, len(comments), 6*4+6)
	})
	t.Run("delivering everything again stores nothing", func(t *testing.T) {
		before := harness.Must(blog.ListEvents(t.Context()))(t)
		for _, name := range []string{"moderation", "comments"} {
			var status any
			if err := harness.PostJSON(t.Context(), blog.BusURL+"/subscribers/"+name+"/replay", map[string]int{"after": 0}, &status, ""); err != nil {
				t.Fatal(err)
			}
			caughtUp(t, blog.API)
		}
		if after := harness.Must(blog.ListEvents(t.Context()))(t); len(after) != len(before) {
			t.Errorf("the log had %d events, and has %d", len(before), len(after))
		}
	})
}

func TestAnIdempotencyKeyMeansOnePostOnAllCopies(t *testing.T) {
	t.Parallel()
	blog := harness.StartBlog(t, harness.Config{Copies: 2})
	for round := range 10 {
		key, title := fmt.Sprintf("key-%d", round), fmt.Sprintf("Title %d", round)
		ids := make([]string, 6)
		var together errgroup.Group
		for i := range ids {
			together.Go(func() error {
				post, err := blog.Copy(i%2).CreatePost(t.Context(), title, key)
				ids[i] = post.ID
				return err
			})
		}
		if err := together.Wait(); err != nil {
			t.Fatal(err)
		}
		for _, id := range ids {
			if id != ids[0] {
				t.Fatalf("one key made the posts %q", ids)
			}
		}
		for i := range ids {
			together.Go(func() error {
				_, err := blog.Copy(i%2).CreateComment(t.Context(), ids[0], title, key)
				return err
			})
		}
		if err := together.Wait(); err != nil {
			t.Fatal(err)
		}
		decided(t, blog.API, ids[0], 1)
		var refusal *harness.Refusal
		if _, err := blog.CreatePost(t.Context(), "Another title", key); !errors.As(err, &refusal) || refusal.Status != http.StatusUnprocessableEntity {
			t.Errorf("the same key for another title: %v, not 422", err)
		}
	}
	checkLog(t, blog, 10, 10)
}

// checkLog fails the test unless the log holds the events of that many posts
// and decided comments, each once, and nothing else.
func checkLog(t *testing.T, blog *harness.Blog, posts, comments int) {
	t.Helper()
	caughtUp(t, blog.API)
	events := harness.Must(blog.ListEvents(t.Context()))(t)
	storedOnce(t, events)
	want := map[string]int{"PostCreated": posts}
	for _, typ := range []string{"CommentCreated", "CommentModerated", "CommentUpdated"} {
		if comments > 0 {
			want[typ] = comments
		}
	}
	if count := byType(events); !reflect.DeepEqual(count, want) {
		t.Errorf("the log has %v, not %v", count, want)
	}
}
