package main

import (
	"compress/gzip"
	"context"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"

	"miniblog/internal/service"
	"miniblog/internal/web"
)

// start runs the service with env until the test ends and returns its URL.
func start(t *testing.T, env map[string]string) string {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	listening, ended := make(chan net.Addr, 1), make(chan error, 1)
	go func() { ended <- run(ctx, env, func(addr net.Addr) { listening <- addr }) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("the service ended with: %v", err)
		}
	})
	select {
	case addr := <-listening:
		return "http://" + addr.String()
	case err := <-ended:
		ended <- nil
		t.Fatalf("the service did not start: %v", err)
		return ""
	}
}

func run(ctx context.Context, env map[string]string, listening func(net.Addr)) error {
	return service.Run(ctx, "client", "localhost:0", func(name string) (string, bool) {
		value, set := env[name]
		return value, set
	}, open, listening)
}

// get returns the answer to a GET with headers, given as name, value. Nothing
// is decompressed or followed on its way.
func get(t *testing.T, url string, headers ...string) (*http.Response, []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	transport := &http.Transport{DisableCompression: true, DisableKeepAlives: true}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, body
}

func TestConfigTellsThePageWhereTheServicesAre(t *testing.T) {
	for name, test := range map[string]struct {
		env  map[string]string
		want config
	}{
		"a laptop without settings": {nil, config{Posts: "http://localhost:4000", Comments: "http://localhost:4001", Query: "http://localhost:4002"}},
		"set to nothing, behind one address": {
			map[string]string{"POSTS_URL": "", "COMMENTS_URL": " ", "QUERY_URL": ""}, config{}},
		"set to other addresses": {
			map[string]string{"POSTS_URL": "https://a.example/", "COMMENTS_URL": "http://b.example:81/under"},
			config{Posts: "https://a.example", Comments: "http://b.example:81/under", Query: "http://localhost:4002"}},
		"a console that people may look at": {
			map[string]string{"POSTS_URL": "", "COMMENTS_URL": "", "QUERY_URL": "", "CONSOLE_URL": "http://localhost:4005/"},
			config{Console: "http://localhost:4005"}},
	} {
		t.Run(name, func(t *testing.T) {
			resp, body := get(t, start(t, test.env)+"/config.json")
			var got config
			if err := json.Unmarshal(body, &got); err != nil || got != test.want {
				t.Errorf("config.json is %s (%v), want %+v", body, err, test.want)
			}
			if got := resp.Header.Get("Content-Type"); got != "application/json" {
				t.Errorf("Content-Type: %s", got)
			}
		})
	}
}

func TestPolicyAllowsTheServicesAndNothingElse(t *testing.T) {
	for name, test := range map[string]struct {
		env     map[string]string
		connect string
	}{
		"defaults":    {nil, "'self' http://localhost:4000 http://localhost:4001 http://localhost:4002"},
		"same origin": {map[string]string{"POSTS_URL": "", "COMMENTS_URL": "", "QUERY_URL": ""}, "'self'"},
		"one origin for all": {map[string]string{"POSTS_URL": "https://api.example/p", "COMMENTS_URL": "https://api.example/c", "QUERY_URL": ""},
			"'self' https://api.example"},
	} {
		t.Run(name, func(t *testing.T) {
			url := start(t, test.env)
			want := "default-src 'none'; script-src 'self'; style-src 'self'; connect-src " + test.connect + "; img-src 'self' data:; " +
				"base-uri 'none'; form-action 'self'; frame-ancestors 'none'; require-trusted-types-for 'script'"
			for _, path := range []string{"/", "/js/main.js", "/config.json", "/nothing"} {
				resp, _ := get(t, url+path)
				for header, want := range map[string]string{
					"Content-Security-Policy": want,
					"X-Content-Type-Options":  "nosniff",
					"Referrer-Policy":         "no-referrer",
				} {
					if got := resp.Header.Get(header); got != want {
						t.Errorf("%s: %s is %q, want %q", path, header, got, want)
					}
				}
			}
		})
	}
}

func TestWrongSettingsStopTheStart(t *testing.T) {
	for setting, say := range map[string]string{
		"QUERY_URL=localhost:4002":        "must be an absolute URL",
		"POSTS_URL=http://[::1]:4000":     "cannot stand in a Content-Security-Policy",
		"COMMENTS_URL=http://a;b.example": "cannot stand in a Content-Security-Policy",
		"PAGE_DIR=" + t.TempDir():         "name the folder that holds the page's index.html",
		"PAGE_DIR=/there/is/no/such":      "name the folder that holds the page's index.html",
	} {
		name, value, _ := strings.Cut(setting, "=")
		err := run(t.Context(), map[string]string{name: value}, func(net.Addr) { t.Errorf("%s: the service started", setting) })
		if err == nil || !strings.Contains(err.Error(), say) || !strings.Contains(err.Error(), value) {
			t.Errorf("%s: the error is %v, want one that says %q", setting, err, say)
		}
	}
}

func TestEveryFileIsServedAsWhatItIs(t *testing.T) {
	url := start(t, nil)
	types := map[string]string{
		".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8",
		".svg": "image/svg+xml", ".md": "text/plain; charset=utf-8", ".txt": "text/plain; charset=utf-8",
	}
	files := os.DirFS("page")
	err := fs.WalkDir(files, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		want, err := fs.ReadFile(files, path)
		if err != nil {
			return err
		}
		resp, body := get(t, url+"/"+path)
		if resp.StatusCode != http.StatusOK || string(body) != string(want) {
			t.Errorf("%s: %s, %d bytes, want its %d", path, resp.Status, len(body), len(want))
		}
		if got, want := resp.Header.Get("Content-Type"), types[filepath.Ext(path)]; got != want || want == "" {
			t.Errorf("%s: Content-Type is %q, want %q", path, got, want)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	_, first := get(t, url+"/")
	if _, index := get(t, url+"/index.html"); string(first) != string(index) {
		t.Error(`"/" is not index.html`)
	}
}

func TestBrowserAsksEachTimeWhetherItsCopyIsStillTheSame(t *testing.T) {
	url := start(t, nil)
	for _, path := range []string{"/", "/js/main.js", "/style.css", "/config.json"} {
		plain, body := get(t, url+path)
		zipped, zippedBody := get(t, url+path, "Accept-Encoding", "br, gzip;q=0.8")
		for _, resp := range []*http.Response{plain, zipped} {
			etag := resp.Header.Get("ETag")
			if resp.Header.Get("Cache-Control") != "no-cache" || !regexp.MustCompile(`^"[^"]+"$`).MatchString(etag) {
				t.Errorf("%s: Cache-Control %q, ETag %s, want no-cache and a strong ETag", path, resp.Header.Get("Cache-Control"), etag)
			}
			again, _ := get(t, url+path, "If-None-Match", etag, "Accept-Encoding", resp.Header.Get("Content-Encoding"))
			if again.StatusCode != http.StatusNotModified {
				t.Errorf("%s: asked for again: %s, want 304", path, again.Status)
			}
		}
		if zipped.Header.Get("Content-Encoding") == "" {
			continue // too small to shrink
		}
		if plain.Header.Get("ETag") == zipped.Header.Get("ETag") || !strings.Contains(plain.Header.Get("Vary"), "Accept-Encoding") {
			t.Errorf("%s: the compressed form cannot be told from the plain one", path)
		}
		reader, err := gzip.NewReader(strings.NewReader(string(zippedBody)))
		if err != nil {
			t.Fatal(err)
		}
		unzipped, err := io.ReadAll(reader)
		if err != nil || string(unzipped) != string(body) {
			t.Errorf("%s: decompressed it is another file (%v)", path, err)
		}
	}
	if resp, _ := get(t, url+"/style.css", "Accept-Encoding", "gzip;q=0, identity"); resp.Header.Get("Content-Encoding") != "" {
		t.Error("gzip was sent to a reader that refuses it")
	}
}

func TestFolderIsServedAsItIsNow(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	outside := filepath.Join(t.TempDir(), "secret.txt")
	if err := os.WriteFile(outside, []byte("secret"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(dir, "link.txt")); err != nil {
		t.Fatal(err)
	}
	write("index.html", "one")
	url := start(t, map[string]string{"PAGE_DIR": dir})
	for _, text := range []string{"one", "two"} {
		write("index.html", text)
		resp, body := get(t, url+"/")
		if string(body) != text || resp.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("got %q with Cache-Control %q, want %q and no-store", body, resp.Header.Get("Cache-Control"), text)
		}
	}
	write("new.js", "let x")
	if resp, body := get(t, url+"/new.js"); string(body) != "let x" || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/javascript") {
		t.Errorf("a new file: %s %q", resp.Status, body)
	}
	if resp, body := get(t, url+"/link.txt"); resp.StatusCode == http.StatusOK {
		t.Errorf("a link out of the folder was followed: %q", body)
	}
}

func TestUnknownPathIsAPageForPeopleAndAProblemForPrograms(t *testing.T) {
	url := start(t, nil)
	for _, path := range []string{"/nothing", "/js/", "/js", "/../main.go", "/page/index.html", "/vendor/"} {
		resp, body := get(t, url+path, "Accept", "text/html,application/xhtml+xml,*/*;q=0.8")
		if resp.StatusCode != http.StatusNotFound && resp.StatusCode != http.StatusTemporaryRedirect || strings.Contains(string(body), "package main") {
			t.Errorf("%s: %s", path, resp.Status)
		}
	}
	resp, body := get(t, url+"/nothing", "Accept", "text/html")
	if got := resp.Header.Get("Content-Type"); !strings.HasPrefix(got, "text/html") || !strings.Contains(string(body), "There is nothing here") {
		t.Errorf("a person gets %s: %s", got, body)
	}
	resp, body = get(t, url+"/nothing", "Accept", "*/*")
	var problem web.Problem
	if err := json.Unmarshal(body, &problem); err != nil || resp.Header.Get("Content-Type") != "application/problem+json" || problem.Status != 404 || problem.Detail == "" {
		t.Errorf("a program gets %s: %s", resp.Header.Get("Content-Type"), body)
	}
	answer, err := http.Post(url+"/", "application/json", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusMethodNotAllowed || answer.Header.Get("Allow") == "" {
		t.Errorf("POST /: %s, Allow %q", answer.Status, answer.Header.Get("Allow"))
	}
}

// TestPageNamesEveryModule keeps the browser from finding modules one after
// another.
func TestPageNamesEveryModule(t *testing.T) {
	page, err := os.ReadFile("page/index.html")
	if err != nil {
		t.Fatal(err)
	}
	modules, err := filepath.Glob("page/*/*.js")
	if err != nil || len(modules) == 0 {
		t.Fatal("no modules", err)
	}
	modules = append(modules, "page/shared/connection.js", "page/vendor/preact-htm.js") // of internal/page
	for _, path := range modules {
		module := strings.TrimPrefix(filepath.ToSlash(path), "page")
		if strings.Count(string(page), `"`+module+`"`) != 1 {
			t.Errorf("index.html names %s %d times, want once", module, strings.Count(string(page), `"`+module+`"`))
		}
	}
	if n := strings.Count(string(page), ".js\""); n != len(modules) {
		t.Errorf("index.html names %d modules, there are %d", n, len(modules))
	}
}
