package blog

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"

	"miniblog/test/harness"
)

func TestAServiceThatLostItsDatabaseBuildsItAgain(t *testing.T) {
	t.Parallel()
	blog := harness.StartBlog(t, harness.Config{})
	var last harness.Post
	for i := range 30 {
		last = blog.MustPost(t, fmt.Sprintf("Post %d", i))
		for j := range i % 4 {
			content, _ := numbered(j)
			blog.MustComment(t, last.ID, content)
		}
		decided(t, blog.API, last.ID, i%4)
	}
	for _, c := range []struct {
		name    string
		service harness.Service
		list    string
	}{
		{"query", blog.Query, blog.QueryURL + "/posts?limit=1000"},
		{"posts", blog.Posts, blog.PostsURL + "/posts?limit=1000"},
		{"comments", blog.Comments, blog.CommentsURL + "/posts/" + last.ID + "/comments"},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := get(t, c.list)
			process := c.service.Copies[0]
			process.Stop()
			process.LoseData()
			process.Start()
			process.AwaitReady()
			if after := get(t, c.list); after != before {
				t.Errorf("before it lost its database it said\n%s\nand afterwards\n%s", before, after)
			}
		})
	}
}

func TestLateSubscriberSeesAllHistory(t *testing.T) {
	t.Parallel()
	const batches, each, news = 10, 1000, 100
	bus := harness.StartBus(t)
	api := harness.API{BusURL: bus.URL}
	for i := range batches {
		publishBatch(t, bus.URL, i*each, each)
	}
	late := newSubscriber(t)
	late.live()
	bus.Stop()
	harness.SetSubscribers(bus, []harness.Subscriber{{Name: "late", URL: late.url()}})
	bus.Start()
	bus.AwaitReady()
	history := harness.Must(api.ListEvents(t.Context()))(t)
	if len(history) != batches*each {
		t.Fatalf("the log has %d events, not %d", len(history), batches*each)
	}
	storedOnce(t, history)
	late.has(history)

	publishBatch(t, bus.URL, batches*each, news)
	late.has(harness.Must(api.ListEvents(t.Context()))(t)[batches*each:])
	late.inOrder()
	for _, e := range late.events() {
		if got, want := string(e.Data), fmt.Sprintf(`{"n":%s}`, e.ID[1:]); got != want {
			t.Fatalf("event %s came with the data %s, not %s", e.ID, got, want)
		}
	}
}

// publishBatch publishes n events, numbered from first, about 97 subjects and
// of 5 types.
func publishBatch(t *testing.T, bus string, first, n int) {
	t.Helper()
	var events []map[string]any
	for i := first; i < first+n; i++ {
		events = append(events, map[string]any{
			"specversion": "1.0", "id": fmt.Sprintf("e%d", i), "source": "/test", "type": fmt.Sprintf("Type%d", i%5),
			"subject": fmt.Sprintf("subject-%d", i%97), "data": map[string]int{"n": i},
		})
	}
	body, err := json.Marshal(events)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := harness.Send(t.Context(), http.MethodPost, bus+"/events", string(body), "Content-Type", "application/cloudevents-batch+json")
	if err != nil {
		t.Fatal(err)
	}
	if answer.Status != http.StatusOK {
		t.Fatalf("publishing a batch: %d %s", answer.Status, answer.Body)
	}
}

// get returns the body of a 200.
func get(t *testing.T, url string) string {
	t.Helper()
	answer, err := harness.Send(t.Context(), http.MethodGet, url, "")
	if err != nil {
		t.Fatal(err)
	}
	if answer.Status != http.StatusOK {
		t.Fatalf("GET %s: %d %s", url, answer.Status, answer.Body)
	}
	return string(answer.Body)
}
