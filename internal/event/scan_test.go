package event

import (
	"bytes"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
)

// What is checked in the fast way is what a decoder takes, and as long.
func FuzzFlat(f *testing.F) {
	for _, seed := range []string{
		`{"id":"c","content":"some words, and more","postId":"p","status":"pending"}`, `{"id":"p","title":"T"} `, `{"a":""}{"a":""}`,
		`{"a":"1","a":"2"}`, `{"a":"1","b":"2","a":"3"}`, `{"a":"1","b":"2","c":"3","d":"4","e":"5"}`, `{"a":"1",}`, `{"a":"1","b":2}`,
		`{}`, `{`, `{"`, `{"a`, `{"a":"`, `{"a":"1"`, `{"a":"1",`, `{"":"","b":""}`, `["a","b"]`, `{ "a":"1"}`, `{"a" :"1"}`,
		"{\"a\":\"tab\there\"}", `{"a":"\n and \" and \\"}`, `{"a":"é"}`, "{\"a\":\"12345678\x7f\"}", "{\"a\":\"1234567\xff8\"}", "{\"a\":\"\x1f\"}",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		length := flat(b)
		if length == 0 {
			return
		}
		value, err := jsontext.NewDecoder(bytes.NewReader(b[:length])).ReadValue()
		if err != nil || len(value) != length {
			t.Fatalf("%q is taken for an object of %d bytes, and is %q, %v", b, length, value, err)
		}
		if bytes.ContainsAny(value, "\r\n") || deeper(value, 1) {
			t.Fatalf("%q is no flat object on one line", value)
		}
	})
}

// All eight places of a word and all bytes are looked at.
func TestPlainStopsAtEveryByteThatIsNot(t *testing.T) {
	for at := range 20 {
		for c := range 256 {
			b := bytes.Repeat([]byte("x"), 20)
			b[at] = byte(c)
			want := 20
			if c < ' ' || c == '"' || c == '\\' || c > '~' {
				want = at
			}
			if got := plain(b); got != want {
				t.Fatalf("byte %#x at %d: %d bytes are plain, want %d", c, at, got, want)
			}
		}
	}
}
