package service

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"miniblog/internal/web"
)

// problemIn expects body to be a problem with the status of its answer.
func problemIn(t testing.TB, response *http.Response, body string) (p web.Problem) {
	t.Helper()
	if contentType := response.Header.Get("Content-Type"); contentType != "application/problem+json" {
		t.Errorf("answered %s with %s", response.Status, contentType)
	}
	if err := json.Unmarshal([]byte(body), &p); err != nil {
		t.Errorf("%v in %q", err, body)
	}
	if p.Status != response.StatusCode || p.Type != "about:blank" || p.Title != http.StatusText(p.Status) || p.Detail == "" {
		t.Errorf("answered %s with the problem %s", response.Status, body)
	}
	if strings.Contains(body, "goroutine") || strings.Contains(body, ".go:") {
		t.Errorf("the problem shows the program's inside: %s", body)
	}
	return p
}

func TestEveryRequestGetsAnAnswerThatHelps(t *testing.T) {
	t.Parallel()
	s := serve(t, map[string]web.Handler{
		"GET /posts":       ok,
		"POST /posts/{id}": ok,
		"GET /panic":       func(http.ResponseWriter, *http.Request) error { panic("a mistake") },
		"GET /error":       func(http.ResponseWriter, *http.Request) error { return errors.New("secret") },
		"GET /problem": func(http.ResponseWriter, *http.Request) error {
			return web.Invalid("field", "The field %q is odd.", "\xff")
		},
		"GET /wrapped": func(http.ResponseWriter, *http.Request) error {
			return fmt.Errorf("%w", web.NewProblem(404, "No such thing."))
		},
		"GET /unavailable": func(http.ResponseWriter, *http.Request) error {
			return web.Unavailable(1200*time.Millisecond, nil, "Later.")
		},
		"GET /unspeakable": func(http.ResponseWriter, *http.Request) error { return web.NewProblem(422, "This is \xff.") },
		"GET /late": func(w http.ResponseWriter, _ *http.Request) error {
			w.Header().Set("Content-Length", "1")
			return errors.New("x")
		},
		"GET /canceled":      func(http.ResponseWriter, *http.Request) error { return context.Canceled },
		"GET /empty":         func(http.ResponseWriter, *http.Request) error { return nil },
		"GET /exact/{$}":     ok,
		"GET /deep/{a}/{b}":  ok,
		"POST /deep/{a}/{b}": ok,
	})
	tests := []struct {
		method, path string
		status       int
		allow        string
		detail       string
	}{
		{"GET", "/posts", 200, "", ""},
		{"HEAD", "/posts", 200, "", ""},
		{"GET", "/nothing", 404, "", "/nothing"},
		{"GET", "/", 404, "", "/"},
		{"GET", "/POSTS", 404, "", "/POSTS"},
		{"GET", "/posts/1", 405, "POST", "POST"},
		{"GET", "/" + strings.Repeat("x", 10<<10), 404, "", "xxx"},
		{"GET", "/%ff%00", 404, "", `\xff\x00`},
		{"POST", "/posts", 405, "GET, HEAD", "GET, HEAD"},
		{"DELETE", "/posts", 405, "GET, HEAD", "DELETE"},
		{"PUT", "/deep/1/2", 405, "GET, HEAD, POST", "PUT"},
		{"OPTIONS", "/posts", 405, "GET, HEAD", "OPTIONS"},
		{"BREW", "/healthz", 405, "GET, HEAD", "BREW"},
		{"GET", "/panic", 500, "", "log says why"},
		{"GET", "/error", 500, "", "log says why"},
		{"GET", "/problem", 422, "", `"\xff"`},
		{"GET", "/wrapped", 404, "", "No such thing."},
		{"GET", "/unavailable", 503, "", "Later."},
		{"GET", "/unspeakable", 422, "", "could not be used"},
		{"GET", "/late", 500, "", "log says why"},
		{"GET", "/canceled", 500, "", "log says why"},
		{"GET", "/empty", 200, "", ""},
		{"GET", "/exact/", 200, "", ""},
		{"GET", "/healthz", 200, "", ""},
		{"GET", "/readyz", 200, "", ""},
	}
	for _, test := range tests {
		t.Run(fmt.Sprintf("%s %.40s is %d", test.method, test.path, test.status), func(t *testing.T) {
			request, _ := http.NewRequest(test.method, "http://"+s.addr+test.path, nil)
			response, err := s.client.Do(request)
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			text, err := io.ReadAll(response.Body)
			if err != nil || response.StatusCode != test.status {
				t.Fatalf("answered %s %s, %v", response.Status, text, err)
			}
			if allow := response.Header.Get("Allow"); allow != test.allow {
				t.Errorf("Allow is %q, want %q", allow, test.allow)
			}
			if test.status >= 400 {
				if p := problemIn(t, response, string(text)); !strings.Contains(p.Detail, test.detail) || len(p.Detail) > 300 {
					t.Errorf("the detail is %q", p.Detail)
				}
			}
			if after := response.Header.Get("Retry-After"); (after == "2") != (test.status == 503) {
				t.Errorf("Retry-After is %q", after)
			}
		})
	}
	t.Run("and is counted by route and status", func(t *testing.T) {
		_, text := s.get("/metrics")
		for _, want := range []string{`route="GET /posts",status="200"`, `route="",status="404"`, `route="GET /panic",status="500"`, `route="GET /empty",status="200"`} {
			if !strings.Contains(text, want) {
				t.Errorf("%s is not in the metrics", want)
			}
		}
	})
}

func TestPanicInTheMiddleOfAnAnswerCutsItOff(t *testing.T) {
	t.Parallel()
	s := serve(t, map[string]web.Handler{"GET /half": func(w http.ResponseWriter, _ *http.Request) error {
		io.WriteString(w, "[1,")
		web.NewStream(w).Flush()
		panic("a mistake")
	}})
	response, err := s.client.Get("http://" + s.addr + "/half")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if text, err := io.ReadAll(response.Body); err == nil {
		t.Errorf("a half answer was taken for a whole one: %q", text)
	}
	if response, _ := s.get("/healthz"); response.StatusCode != http.StatusOK {
		t.Errorf("afterwards: %s", response.Status)
	}
}

// Whoever sends a request and closes their half of the connection looks as if
// they were gone. The answer used to be an empty 200, whether the work was done
// or not.
func TestRequestThatIsGivenUpIsNeverAnsweredAsDone(t *testing.T) {
	t.Parallel()
	s := serve(t, map[string]web.Handler{"POST /work": func(w http.ResponseWriter, r *http.Request) error {
		if _, _, err := web.ReadBody(w, r, web.MaxBody); err != nil {
			return err
		}
		<-r.Context().Done()
		return fmt.Errorf("publishing: %w", r.Context().Err())
	}})
	conn := s.dial()
	io.WriteString(conn, "POST /work HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}")
	conn.(*net.TCPConn).CloseWrite()
	if answer, _ := io.ReadAll(conn); len(answer) > 0 {
		t.Errorf("answered %q", answer)
	}
}

func TestBodyThatCannotBeUsedSaysWhy(t *testing.T) {
	t.Parallel()
	s := serve(t, map[string]web.Handler{"POST /post": func(w http.ResponseWriter, r *http.Request) error {
		var post struct {
			Title string `json:"title"`
			Count int    `json:"count"`
		}
		if err := web.ReadJSON(w, r, &post); err != nil {
			return err
		}
		if _, err := web.Text("title", post.Title, 200); err != nil {
			return err
		}
		return ok(w, r)
	}})
	const contentType = "application/json"
	tests := map[string]struct {
		contentType, body string
		status            int
		field, detail     string
	}{
		"a good one":                  {contentType, `{"title":"a"}`, 200, "", ""},
		"with a charset":              {contentType + "; charset=utf-8", `{"title":"a"}`, 200, "", ""},
		"white space around":          {contentType, " \n{\"title\" : \"a\"}\r\n", 200, "", ""},
		"unknown members":             {contentType, `{"title":"a","more":[{}]}`, 200, "", ""},
		"200 characters":              {contentType, `{"title":"` + strings.Repeat("ö", 200) + `"}`, 200, "", ""},
		"no content type":             {"", `{"title":"a"}`, 415, "", `"Content-Type: application/json"`},
		"another content type":        {"text/plain", `{"title":"a"}`, 415, "", "application/json"},
		"a form":                      {"application/x-www-form-urlencoded", `title=a`, 415, "", "application/json"},
		"a content type that is none": {"application/json;;", `{"title":"a"}`, 415, "", "application/json"},
		"nothing":                     {contentType, ``, 400, "", "not valid JSON"},
		"not JSON":                    {contentType, `title`, 400, "", "not valid JSON"},
		"cut short":                   {contentType, `{"title":"a"`, 400, "", "not valid JSON"},
		"more than one":               {contentType, `{"title":"a"}{}`, 400, "", "not valid JSON"},
		"invalid UTF-8":               {contentType, "{\"title\":\"\xff\"}", 400, "", "UTF-8"},
		"half a surrogate":            {contentType, `{"title":"\ud800"}`, 400, "", "not valid JSON"},
		"a name twice":                {contentType, `{"title":"a","title":"b"}`, 400, "", "duplicate"},
		"a very long name twice":      {contentType, `{"` + strings.Repeat("x", 100_000) + `":1,"` + strings.Repeat("x", 100_000) + `":1}`, 400, "", "duplicate"},
		"nested without end":          {contentType, strings.Repeat("[", 500_000), 400, "", "JSON"},
		"nested in what is unknown":   {contentType, `{"x":` + strings.Repeat("[", 500_000) + strings.Repeat("]", 500_000) + `}`, 400, "", "JSON"},
		"null":                        {contentType, `null`, 400, "", "must not be null"},
		"an array":                    {contentType, `[]`, 400, "", "must not be a JSON array"},
		"a string":                    {contentType, `"a"`, 400, "", "must not be a JSON string"},
		"a number":                    {contentType, `1`, 400, "", "must not be a JSON number"},
		"a field with an object":      {contentType, `{"title":{"a":1}}`, 400, "title", "a JSON object does not fit"},
		"a field with a number":       {contentType, `{"title":1}`, 400, "title", "a JSON number does not fit"},
		"a field with an array":       {contentType, `{"title":[]}`, 400, "title", "a JSON array does not fit"},
		"a field with true":           {contentType, `{"title":true}`, 400, "title", "a JSON boolean does not fit"},
		"a number that is too large":  {contentType, `{"title":"a","count":1e99}`, 400, "count", "count"},
		"null in a field":             {contentType, `{"title":null}`, 422, "title", "missing"},
		"a missing field":             {contentType, `{}`, 422, "title", "missing"},
		"a blank field":               {contentType, `{"title":" \n\u00a0 "}`, 422, "title", "missing"},
		"a field that is too long":    {contentType, `{"title":"` + strings.Repeat("ö", 201) + `"}`, 422, "title", "201 characters"},
		"NUL":                         {contentType, `{"title":"a\u0000b"}`, 422, "title", "NUL"},
		"more than 1 MiB":             {contentType, `{"title":"` + strings.Repeat("x", 1<<20) + `"}`, 413, "", "1048576 bytes"},
		"2 MiB":                       {contentType, strings.Repeat("x", 2<<20), 413, "", "1048576 bytes"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			for _, chunked := range []bool{false, true} {
				request, _ := http.NewRequest("POST", "http://"+s.addr+"/post", strings.NewReader(test.body))
				request.Header.Set("Content-Type", test.contentType)
				if chunked {
					request.ContentLength = -1
				}
				response, err := s.client.Do(request)
				if err != nil {
					t.Fatal(err)
				}
				text, err := io.ReadAll(response.Body)
				response.Body.Close()
				if err != nil || response.StatusCode != test.status {
					t.Fatalf("answered %s %s, %v", response.Status, text, err)
				}
				if test.status == 200 {
					continue
				}
				if p := problemIn(t, response, string(text)); p.Field != test.field || !strings.Contains(p.Detail, test.detail) || len(p.Detail) > 400 {
					t.Errorf("the problem is %.500s", text)
				}
			}
		})
	}
	t.Run("the next request works", func(t *testing.T) {
		if response, _ := s.get("/healthz"); response.StatusCode != http.StatusOK {
			t.Error(response.Status)
		}
	})
}

func TestContentLengthThatLies(t *testing.T) {
	t.Parallel()
	s := serve(t, map[string]web.Handler{"POST /post": func(w http.ResponseWriter, r *http.Request) error {
		var v struct{}
		if err := web.ReadJSON(w, r, &v); err != nil {
			return err
		}
		return ok(w, r)
	}})
	head := "POST /post HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: "
	t.Run("more than there is", func(t *testing.T) {
		conn := s.dial()
		io.WriteString(conn, head+"100\r\n\r\n{}")
		conn.(*net.TCPConn).CloseWrite()
		if answer, _ := io.ReadAll(conn); !strings.HasPrefix(string(answer), "HTTP/1.1 400 ") || !strings.Contains(string(answer), "did not arrive whole") {
			t.Errorf("answered %q", answer)
		}
	})
	t.Run("more than is allowed", func(t *testing.T) {
		response, body := send(t, s.dial(), head+"9000000000000000000\r\n\r\n"+strings.Repeat(" ", web.MaxBody+1))
		if problemIn(t, response, body).Status != http.StatusRequestEntityTooLarge {
			t.Errorf("answered %s", body)
		}
	})
	t.Run("less than there is", func(t *testing.T) {
		conn := s.dial()
		io.WriteString(conn, head+"2\r\nConnection: close\r\n\r\n{}{}{}")
		if answer, _ := io.ReadAll(conn); !strings.HasPrefix(string(answer), "HTTP/1.1 200 ") {
			t.Errorf("answered %q", answer)
		}
	})
	for _, length := range []string{"-1", "x", "1, 2", "99999999999999999999"} {
		t.Run("is "+length, func(t *testing.T) {
			conn := s.dial()
			io.WriteString(conn, head+length+"\r\n\r\n{}")
			if answer, _ := io.ReadAll(conn); !strings.HasPrefix(string(answer), "HTTP/1.1 400 ") {
				t.Errorf("answered %q", answer)
			}
		})
	}
}

func TestPagesOfAllowedOriginsMayCall(t *testing.T) {
	t.Parallel()
	s := start(t, func(context.Context, *Env) (*Service, error) {
		return &Service{Routes: map[string]web.Handler{"POST /posts/create": ok}, Origins: []string{"http://localhost:3000", "http://posts.com"}}, nil
	})
	ask := func(t *testing.T, method, origin string, header ...string) *http.Response {
		t.Helper()
		request, _ := http.NewRequest(method, "http://"+s.addr+"/posts/create", strings.NewReader("{}"))
		request.Header.Set("Origin", origin)
		for i := 0; i < len(header); i += 2 {
			request.Header.Set(header[i], header[i+1])
		}
		response, err := s.client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		return response
	}
	preflight := []string{"Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "content-type,idempotency-key"}
	t.Run("after a preflight", func(t *testing.T) {
		r := ask(t, "OPTIONS", "http://localhost:3000", preflight...)
		h := r.Header
		if r.StatusCode != http.StatusNoContent || h.Get("Access-Control-Allow-Origin") != "http://localhost:3000" ||
			h.Get("Access-Control-Allow-Methods") != "POST" || h.Get("Access-Control-Allow-Headers") != "content-type,idempotency-key" || h.Get("Access-Control-Max-Age") != "600" {
			t.Errorf("answered %s %v", r.Status, h)
		}
	})
	t.Run("and read what they need of the answer", func(t *testing.T) {
		r := ask(t, "POST", "http://posts.com")
		if r.StatusCode != http.StatusOK || r.Header.Get("Access-Control-Allow-Origin") != "http://posts.com" || !strings.Contains(r.Header.Get("Access-Control-Expose-Headers"), "Retry-After") {
			t.Errorf("answered %s %v", r.Status, r.Header)
		}
	})
	t.Run("others are not allowed", func(t *testing.T) {
		for _, r := range []*http.Response{ask(t, "OPTIONS", "http://evil.example", preflight...), ask(t, "POST", "http://posts.com.evil.example"), ask(t, "POST", "null")} {
			if allowed := r.Header.Get("Access-Control-Allow-Origin"); allowed != "" {
				t.Errorf("%q is allowed", allowed)
			}
		}
	})
	t.Run("also when the answer is a problem", func(t *testing.T) {
		if r := ask(t, "GET", "http://posts.com"); r.StatusCode != http.StatusMethodNotAllowed || r.Header.Get("Access-Control-Allow-Origin") != "http://posts.com" {
			t.Errorf("answered %s %v", r.Status, r.Header)
		}
	})
}

func TestStreamIsSentByTheKernelFromAFile(t *testing.T) {
	t.Parallel()
	text := strings.Repeat("0123456789abcdef", 1<<16)
	name := t.TempDir() + "/file"
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	reached := make(chan io.ReaderFrom, 1)
	s := serve(t, map[string]web.Handler{"GET /file": func(w http.ResponseWriter, _ *http.Request) error {
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		w.Header().Set("Content-Length", fmt.Sprint(len(text)))
		out := web.NewStream(w)
		from, _ := any(out).(io.ReaderFrom)
		reached <- from
		_, err = io.Copy(out, io.LimitReader(f, int64(len(text))))
		return err
	}})
	if _, body := s.get("/file"); body != text {
		t.Errorf("the answer has %d bytes, want %d", len(body), len(text))
	}
	if <-reached == nil {
		t.Error("a stream hides the connection's ReadFrom: every byte is copied through the program")
	}
}
