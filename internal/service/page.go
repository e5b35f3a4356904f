package service

import (
	"net/http"
	"net/url"
	"strconv"
)

// LinkNext tells a reader where the next page is, as RFC 8288 writes it:
// relative to this address, so that it also holds behind a proxy.
func LinkNext(h http.Header, u *url.URL, limit int, param, value string) {
	query := url.Values{"limit": {strconv.Itoa(limit)}, param: {value}}
	h.Set("Link", "<"+u.EscapedPath()+"?"+query.Encode()+`>; rel="next"`)
}
