package harness

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"miniblog/test/openapi"
)

// API is where a client of the blog finds the services.
type API struct{ PostsURL, CommentsURL, QueryURL, BusURL string }

// Post is a post as posts or query gives it.
type Post struct {
	ID           string    `json:"id"`
	Title        string    `json:"title"`
	Comments     []Comment `json:"comments"`
	CommentCount int       `json:"commentCount"`
}

// Comment is a comment as comments or query gives it.
type Comment struct {
	ID      string `json:"id"`
	Content string `json:"content"`
	Status  string `json:"status"`
}

// Event is an event as the bus gives it.
type Event struct {
	Sequence string          `json:"sequence"`
	ID       string          `json:"id"`
	Type     string          `json:"type"`
	Source   string          `json:"source"`
	Time     string          `json:"time"`
	Subject  string          `json:"subject"`
	Data     json.RawMessage `json:"data"`
}

// SubscriberStatus is how a subscriber of the bus is doing.
type SubscriberStatus struct {
	Name            string `json:"name"`
	Cursor          string `json:"cursor"`
	Lag             int    `json:"lag"`
	State           string `json:"state"`
	LastError       string `json:"lastError"`
	DeadLetterCount int    `json:"deadLetterCount"`
}

// Answer is an HTTP response that has been read.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// Refusal is the error for an answer that is not a success.
type Refusal struct{ *Answer }

// Error implements error.
func (r *Refusal) Error() string { return fmt.Sprintf("answered %d: %s", r.Status, r.Body) }

// client is shared by everything that speaks to the services; every answer
// comes well within its limit.
var client = &http.Client{
	Timeout:   30 * time.Second,
	Transport: &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true},
}

// Send sends a request and reads the answer, whatever its status. header is
// names and values in turn. An answer of one of our processes that
// docs/api/openapi.yaml does not describe fails the test.
func Send(ctx context.Context, method, url, body string, header ...string) (*Answer, error) {
	request, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	for i := 0; i < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, fmt.Errorf("%s %s: the answer was cut off: %w", method, url, err)
	}
	checkAnswer(request, openapi.Answer{Status: response.StatusCode, Header: response.Header, Body: text})
	return &Answer{response.StatusCode, response.Header, text}, nil
}

// PostJSON posts value, with an Idempotency-Key unless key is empty, and
// decodes the answer into answer. Its error is a *Refusal where there was an
// answer.
func PostJSON(ctx context.Context, url string, value, answer any, key string) error {
	body, err := json.Marshal(value)
	if err != nil {
		return err
	}
	header := []string{"Content-Type", "application/json"}
	if key != "" {
		header = append(header, "Idempotency-Key", key)
	}
	a, err := Send(ctx, http.MethodPost, url, string(body), header...)
	if err != nil {
		return err
	}
	if a.Status/100 != 2 {
		return &Refusal{a}
	}
	return json.Unmarshal(a.Body, answer)
}

// CreatePost creates a post.
func (a API) CreatePost(ctx context.Context, title, key string) (post Post, err error) {
	err = PostJSON(ctx, a.PostsURL+"/posts/create", map[string]string{"title": title}, &post, key)
	return post, err
}

// CreateComment creates a comment and returns it as its author is told of it.
func (a API) CreateComment(ctx context.Context, postID, content, key string) (Comment, error) {
	var all []Comment
	err := PostJSON(ctx, a.commentsOf(postID), map[string]string{"content": content}, &all, key)
	if err == nil && len(all) == 0 {
		err = fmt.Errorf("the comment on %s is not in the answer", postID)
	}
	if err != nil {
		return Comment{}, err
	}
	return all[len(all)-1], nil
}

func (a API) commentsOf(postID string) string {
	return a.CommentsURL + "/posts/" + url.PathEscape(postID) + "/comments"
}

// ListPosts returns every post that the posts service knows, newest first.
func (a API) ListPosts(ctx context.Context) ([]Post, error) {
	return list(ctx, a.PostsURL+"/posts?limit=1000", postsInOrder)
}

// ListBlog returns every post that query knows, newest first, each with its
// first comments.
func (a API) ListBlog(ctx context.Context) ([]Post, error) {
	return list(ctx, a.QueryURL+"/posts?limit=1000", postsInOrder)
}

// FindPosts returns the post with that id as query knows it, if it does.
func (a API) FindPosts(ctx context.Context, id string) ([]Post, error) {
	return list(ctx, a.QueryURL+"/posts?id="+url.QueryEscape(id), postsInOrder)
}

// ListComments returns every comment of a post, oldest first.
func (a API) ListComments(ctx context.Context, postID string) ([]Comment, error) {
	return list(ctx, a.commentsOf(postID)+"?limit=1000", func(body []byte) (all []Comment, err error) {
		return all, json.Unmarshal(body, &all)
	})
}

// ListEvents returns the whole log.
func (a API) ListEvents(ctx context.Context) ([]Event, error) {
	return list(ctx, a.BusURL+"/events", func(body []byte) (all []Event, err error) {
		return all, json.Unmarshal(body, &all)
	})
}

// ListSubscribers returns how the subscribers of the bus are doing.
func (a API) ListSubscribers(ctx context.Context) ([]SubscriberStatus, error) {
	return list(ctx, a.BusURL+"/subscribers", func(body []byte) (all []SubscriberStatus, err error) {
		return all, json.Unmarshal(body, &all)
	})
}

// list follows the links of a list from its first page to its last.
func list[T any](ctx context.Context, page string, parse func([]byte) ([]T, error)) (all []T, err error) {
	for page != "" {
		answer, err := Send(ctx, http.MethodGet, page, "")
		if err != nil {
			return nil, err
		}
		if answer.Status != http.StatusOK {
			return nil, &Refusal{answer}
		}
		some, err := parse(answer.Body)
		if err != nil {
			return nil, fmt.Errorf("%s: %w in %.200s", page, err, answer.Body)
		}
		all = append(all, some...)
		if page, err = answer.next(page); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// next returns the address of the page that follows, "" after the last.
func (a *Answer) next(page string) (string, error) {
	link := a.Header.Get("Link")
	if link == "" {
		return "", nil
	}
	target, rest, _ := strings.Cut(strings.TrimPrefix(link, "<"), ">")
	if !strings.Contains(rest, `rel="next"`) {
		return "", fmt.Errorf("the header %q has no next page", link)
	}
	base, err := url.Parse(page)
	if err != nil {
		return "", err
	}
	next, err := base.Parse(target)
	if err != nil {
		return "", fmt.Errorf("the header %q: %w", link, err)
	}
	return next.String(), nil
}

// postsInOrder decodes an object of posts in the order in which it is written.
func postsInOrder(body []byte) (posts []Post, err error) {
	d := json.NewDecoder(bytes.NewReader(body))
	if _, err := d.Token(); err != nil {
		return nil, err
	}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return nil, err
		}
		var post Post
		if err := d.Decode(&post); err != nil {
			return nil, err
		}
		if post.ID != key {
			return nil, fmt.Errorf("the post %q has the key %q", post.ID, key)
		}
		posts = append(posts, post)
	}
	return posts, nil
}

// Publish publishes an event of the given type as the course's services do:
// type and data and nothing more. It returns the bus's answer.
func (a API) Publish(ctx context.Context, typ string, data any) (receipt map[string]any, err error) {
	err = PostJSON(ctx, a.BusURL+"/events", map[string]any{"type": typ, "data": data}, &receipt, "")
	return receipt, err
}

// MustPost creates a post, or ends the test.
func (a API) MustPost(t testing.TB, title string) Post {
	t.Helper()
	post, err := a.CreatePost(t.Context(), title, "")
	if err != nil {
		t.Fatalf("creating the post %.100q: %v", title, err)
	}
	return post
}

// MustComment creates a comment, or ends the test.
func (a API) MustComment(t testing.TB, postID, content string) Comment {
	t.Helper()
	comment, err := a.CreateComment(t.Context(), postID, content, "")
	if err != nil {
		t.Fatalf("creating the comment %.100q: %v", content, err)
	}
	return comment
}

// Must returns what a call returned, or ends the test with its error:
// Must(api.ListPosts(ctx))(t).
func Must[T any](value T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
}
