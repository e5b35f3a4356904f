package deploy

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"miniblog/test/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

// client finds posts.com, and every other host, at the ingress.
func (i *ingress) client() *http.Client {
	return &http.Client{
		Transport: &http.Transport{DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, i.addr)
		}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// ask sends a request and says which service answered it, "" if nginx did.
func (i *ingress) ask(t *testing.T, method, url, body string) (service string, status int, answer string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := i.client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	for name, addr := range i.services {
		if addr == resp.Header.Get("Test-Upstream") {
			service = name
		}
	}
	return service, resp.StatusCode, string(text)
}

// createPost creates a post through the ingress.
func (i *ingress) createPost(t *testing.T, title string) (id string) {
	t.Helper()
	var post struct{ ID string }
	_, status, body := i.ask(t, "POST", "http://posts.com/posts/create", fmt.Sprintf(`{"title":%q}`, title))
	if err := json.Unmarshal([]byte(body), &post); err != nil || status != http.StatusCreated {
		t.Fatalf("creating a post: %d %s", status, body)
	}
	return post.ID
}

func TestIngress(t *testing.T) {
	i := startIngress(t)
	t.Run("each request reaches the service it should", i.routes)
	t.Run("a body that is too large gets the service's answer", i.tooLarge)
	t.Run("the live stream flows through", i.live)
	t.Run("the page works in a browser as posts.com", i.page)
}

func (i *ingress) routes(t *testing.T) {
	const host = "http://posts.com"
	comments := "/posts/" + i.createPost(t, "Behind the ingress") + "/comments"
	for _, request := range []struct {
		method, url, body string
		service           string
		status            int
	}{
		{"GET", host + "/", "", "client", 200},
		{"GET", host + "/config.json", "", "client", 200},
		{"GET", host + "/postsfoo", "", "client", 404},
		{"GET", host + "/POSTS", "", "client", 404},
		{"GET", host + "/Posts/create", "", "client", 404},
		{"GET", host + "/posts/../posts.html", "", "client", 307},

		{"POST", host + "/posts/create", `{"title":"One more"}`, "posts", 201},
		{"GET", host + "/posts/create", "", "posts", 405},
		{"POST", host + "/posts%2Fcreate", `{"title":"Not this way"}`, "posts", 404},

		{"GET", host + "/posts", "", "query", 200},
		{"GET", host + "/posts?limit=1", "", "query", 200},
		{"GET", host + "/posts/", "", "query", 200},
		{"GET", host + "/%70osts", "", "query", 200},
		{"POST", host + "/posts", "{}", "query", 405},

		{"POST", host + comments, `{"content":"Heard"}`, "comments", 201},
		{"GET", host + comments, "", "comments", 200},
		{"GET", host + comments + "?limit=1", "", "comments", 200},
		{"GET", host + comments + "/", "", "comments", 404},
		{"GET", host + "/posts/x/commentsfoo", "", "comments", 404},
		{"GET", host + "/posts/x", "", "comments", 404},
		{"GET", host + "/posts/live/", "", "comments", 404},
		{"GET", host + "/posts/create/", "", "comments", 404},
		{"GET", host + "/posts/LIVE", "", "comments", 404},
		{"GET", host + "/posts/%2e%2e%2fevents", "", "client", 404}, // nginx looks at where the dots lead

		// Nobody outside hands an event to anybody.
		{"POST", host + "/events", `{"type":"PostCreated","data":{}}`, "client", 404},
		{"GET", host + "/events", "", "client", 404},
		{"POST", host + "/posts/events", `{"type":"PostCreated","data":{}}`, "comments", 404},
		{"POST", host + "/posts/../events", `{"type":"PostCreated","data":{}}`, "client", 307}, // to /events,
		{"POST", host + "//events", `{"type":"PostCreated","data":{}}`, "client", 307},
		{"GET", host + "/subscribers", "", "client", 404},

		{"GET", "http://example.com/posts", "", "", 404},
	} {
		service, status, answer := i.ask(t, request.method, request.url, request.body)
		if service != request.service || status != request.status {
			t.Errorf("%s %s reached %q with %d, want %q with %d: %s", request.method, request.url, service, status, request.service, request.status, answer)
		}
	}
}

func (i *ingress) tooLarge(t *testing.T) {
	for _, size := range []int{1 << 20, 3 << 20, 20 << 20} {
		service, status, answer := i.ask(t, "POST", "http://posts.com/posts/create", `{"title":"`+strings.Repeat("x", size)+`"}`)
		if service != "posts" || status != http.StatusRequestEntityTooLarge || !strings.Contains(answer, `"detail"`) {
			t.Errorf("%d bytes: %q answered %d: %s", size, service, status, answer)
		}
	}
}

func (i *ingress) live(t *testing.T) {
	req, err := http.NewRequestWithContext(t.Context(), "GET", "http://posts.com/posts/live", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := i.client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.Header.Get("Test-Upstream") != i.services["query"] || resp.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("%d from %s: %v", resp.StatusCode, resp.Header.Get("Test-Upstream"), resp.Header)
	}
	id := i.createPost(t, "Seen at once")
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); { // the test's deadline ends a stream that stays silent
		if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok && strings.Contains(data, id) {
			return
		}
	}
	t.Error("the stream ended without the post")
}

func (i *ingress) page(t *testing.T) {
	chromium := needs(t, "chromium", "chromium")
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(chromium), chromedp.UserDataDir(t.TempDir()),
		chromedp.Flag("host-resolver-rules", "MAP posts.com:80 "+i.addr+", MAP * ~NOTFOUND"),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("no-sandbox", os.Getuid() == 0))
	allocator, cancel := chromedp.NewExecAllocator(t.Context(), options...)
	defer cancel()
	ctx, cancel := chromedp.NewContext(allocator)
	defer cancel()
	ctx, cancel = context.WithTimeout(ctx, 2*limit)
	defer cancel()

	const title, comment = "From the browser", "Through the ingress"
	const article = `//article[@aria-label="` + title + `"]`
	err := chromedp.Do(ctx,
		chromedp.Navigate("http://posts.com/"),
		chromedp.WaitVisible(chromedp.CSS(`#connection[data-state=connected]`)),
		chromedp.SendKeys(chromedp.CSS(`form.new-post [name=title]`), title+"\r"),
		chromedp.WaitVisible(article),
		chromedp.SendKeys(article+`//*[@name="content"]`, comment),
		chromedp.Click(article+`//button`),
		chromedp.WaitVisible(article+`//li[@data-status="approved" and contains(., "`+comment+`")]`), // live, without a reload
	)
	if err != nil {
		body, _ := chromedp.Run(ctx, chromedp.OuterHTML(chromedp.CSS("body")))
		t.Fatalf("%v\n%s", err, body)
	}
}
