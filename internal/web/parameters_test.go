package web

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
)

func TestLimitIsAWholeNumberInItsRange(t *testing.T) {
	for text, want := range map[string]int{"": 100, "1": 1, "1000": 1000, "007": 7} {
		if got, err := Limit(url.Values{"limit": {text}}, 100, 1000); got != want || err != nil {
			t.Errorf("limit=%q is %d, %v", text, got, err)
		}
	}
	for _, text := range []string{"0", "-1", "1001", "99999999999999999999", "1.5", "ten", " 1", "1e2", "0x10"} {
		_, err := Limit(url.Values{"limit": {text}}, 100, 1000)
		if p, ok := err.(*Problem); !ok || p.Status != http.StatusUnprocessableEntity || p.Field != "limit" {
			t.Errorf("limit=%q gives %v", text, err)
		}
	}
}

func TestKeyIsShortText(t *testing.T) {
	for key, valid := range map[string]bool{
		"": true, "a key": true, "ö": true, strings.Repeat("x", 255): true, strings.Repeat("x", 256): false, "\xff": false,
	} {
		got, err := Key(&http.Request{Header: http.Header{"Idempotency-Key": {key}}})
		if valid && (got != key || err != nil) || !valid && err == nil {
			t.Errorf("the key %.10q gives %.10q, %v", key, got, err)
		}
	}
}

func TestLinkNamesTheNextPage(t *testing.T) {
	u, _ := url.Parse("http://x/posts/a%2Fb/comments?limit=5&after=1")
	h := http.Header{}
	LinkNext(h, u, 5, "after", "a b&c")
	if got, want := h.Get("Link"), `</posts/a%2Fb/comments?after=a+b%26c&limit=5>; rel="next"`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
