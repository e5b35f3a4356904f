package blog

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"

	"miniblog/test/harness"
)

func TestModerationDecidesOnEveryComment(t *testing.T) {
	t.Parallel()
	blog := harness.StartBlog(t, harness.Config{})
	for _, c := range []struct{ name, content, status string }{
		{"plain text is approved", "What a fine apple", "approved"},
		{"a blocked term is rejected", "orange", "rejected"},
		{"capitals hide nothing", "ORANGE", "rejected"},
		{"full-width letters hide nothing", "ｏｒａｎｇｅ and ＯＲＡＮＧＥ", "rejected"},
		{"a longer word hides nothing", "Two oranges, please", "rejected"},
		{"what only looks alike is approved", "oranje, or ange", "approved"},
	} {
		t.Run(c.name, func(t *testing.T) {
			post := blog.MustPost(t, c.name)
			created := blog.MustComment(t, post.ID, c.content)
			if created.Status != "pending" || created.Content != c.content {
				t.Errorf("its author was told %+v, not of the pending comment %q", created, c.content)
			}
			comment := decided(t, blog.API, post.ID, 1)[0]
			readable := ""
			if c.status == "approved" {
				readable = c.content
			}
			if want := (harness.Comment{ID: created.ID, Content: readable, Status: c.status}); comment != want {
				t.Errorf("comments says %+v, not %+v", comment, want)
			}
			seen, err := find(t.Context(), blog.API, post.ID)
			if err != nil || seen.Comments[0] != comment {
				t.Errorf("query says %+v (%v), not %+v", seen.Comments, err, comment)
			}
		})
	}
}

// TestAnotherDecisionChangesNoComment: beyond the ids that the bus remembers, a
// replay or a restore decides on old comments again, with the terms of that day.
func TestAnotherDecisionChangesNoComment(t *testing.T) {
	t.Parallel()
	blog := harness.StartBlog(t, harness.Config{})
	post := blog.MustPost(t, "A post")
	blog.MustComment(t, post.ID, "What a fine apple")
	blog.MustComment(t, post.ID, "orange")
	before := decided(t, blog.API, post.ID, 2)
	for i, status := range []string{"rejected", "approved"} {
		again := map[string]any{"id": before[i].ID, "postId": post.ID, "content": "What is this?", "status": status}
		event := map[string]any{"type": "CommentModerated", "subject": post.ID, "data": again}
		if err := harness.PostJSON(t.Context(), blog.BusURL+"/events", event, &map[string]any{}, ""); err != nil {
			t.Fatal(err)
		}
	}
	blog.MustComment(t, post.ID, "The next one") // which is decided after them, as they are about the same post
	if after := decided(t, blog.API, post.ID, 3); after[0] != before[0] || after[1] != before[1] {
		t.Errorf("the comments were %+v and are %+v", before, after)
	}
}

func TestTextOfARejectedCommentIsInNoAnswer(t *testing.T) {
	t.Parallel()
	const secret = "kumquat-7f3a"
	blog := harness.StartBlog(t, harness.Config{})
	post := blog.MustPost(t, "A post")
	streams := []*harness.Stream{
		harness.Follow(t, blog.QueryURL+"/posts/live"),
		harness.Follow(t, blog.QueryURL+"/posts/live?after=0"),
	}
	blog.MustComment(t, post.ID, "An orange and a "+secret)
	rejected := decided(t, blog.API, post.ID, 1)[0]
	for _, stream := range streams {
		harness.Eventually(t, limit, func() error {
			for _, e := range stream.Events() {
				if e.Name == "comment" && strings.Contains(e.Data, `"rejected"`) {
					return nil
				}
			}
			return fmt.Errorf("the live stream brought %v, and no rejection", stream.Events())
		})
	}
	streams = append(streams, harness.Follow(t, blog.QueryURL+"/posts/live?after=0"))
	next := blog.MustComment(t, post.ID, "What was it?")
	decided(t, blog.API, post.ID, 2)
	for _, stream := range streams {
		harness.Eventually(t, limit, func() error {
			if !strings.Contains(stream.Text(), next.ID) {
				return fmt.Errorf("the live stream has not brought the next comment: %q", stream.Text())
			}
			return nil
		})
		if strings.Contains(stream.Text(), secret) {
			t.Errorf("the live stream told the text:\n%s", stream.Text())
		}
	}
	another := fmt.Sprintf(`{"content":%q}`, "Another comment")
	for _, request := range []struct{ method, url, body string }{
		{http.MethodGet, blog.QueryURL + "/posts", ""},
		{http.MethodGet, blog.QueryURL + "/posts?id=" + post.ID, ""},
		{http.MethodGet, blog.CommentsURL + "/posts/" + post.ID + "/comments", ""},
		{http.MethodGet, blog.PostsURL + "/posts", ""},
		{http.MethodPost, blog.CommentsURL + "/posts/" + post.ID + "/comments", another},
	} {
		answer, err := harness.Send(t.Context(), request.method, request.url, request.body, "Content-Type", "application/json")
		if err != nil {
			t.Fatal(err)
		}
		if answer.Status/100 != 2 {
			t.Fatalf("%s %s answered %d %s", request.method, request.url, answer.Status, answer.Body)
		}
		if strings.Contains(string(answer.Body), secret) {
			t.Errorf("%s %s told the text of the rejected comment %s: %s", request.method, request.url, rejected.ID, answer.Body)
		}
	}
}

func TestCommentsWaitForModeration(t *testing.T) {
	t.Parallel()
	const posts, each = 4, 50
	blog := harness.StartBlog(t, harness.Config{})
	blog.Moderation.Copies[0].Kill()
	var ids []string
	for i := range posts {
		ids = append(ids, blog.MustPost(t, fmt.Sprintf("Post %d", i)).ID)
	}
	writers, ctx := errgroup.WithContext(t.Context())
	for _, id := range ids {
		writers.Go(func() error { return comment(ctx, blog.API, id, each) })
	}
	if err := writers.Wait(); err != nil {
		t.Fatal(err)
	}
	for _, id := range ids {
		for _, c := range harness.Must(blog.ListComments(t.Context(), id))(t) {
			if c.Status != "pending" || c.Content != "" {
				t.Fatalf("with moderation away, a reader sees %+v", c)
			}
		}
	}
	blog.Moderation.Copies[0].Start()
	for _, id := range ids {
		for i, c := range decided(t, blog.API, id, each) {
			if content, status := numbered(i); c.Status != status || status == "approved" && c.Content != content {
				t.Errorf("comment %d (%q) is %+v", i, content, c)
			}
		}
	}
	events := harness.Must(blog.ListEvents(t.Context()))(t)
	storedOnce(t, events)
	count := byType(events)
	for _, typ := range []string{"CommentCreated", "CommentModerated", "CommentUpdated"} {
		if count[typ] != posts*each {
			t.Errorf("the log has %d events %s, not %d", count[typ], typ, posts*each)
		}
	}
}

// numbered returns the content of comment i, and what moderation will say.
func numbered(i int) (content, status string) {
	if i%10 == 3 {
		return fmt.Sprintf("Comment %d has an orange", i), "rejected"
	}
	return fmt.Sprintf("Comment %d", i), "approved"
}

// comment creates n comments on a post, one after the other.
func comment(ctx context.Context, api harness.API, postID string, n int) error {
	for i := range n {
		content, _ := numbered(i)
		if _, err := api.CreateComment(ctx, postID, content, ""); err != nil {
			return fmt.Errorf("comment %d: %w", i, err)
		}
	}
	return nil
}
