package page

import (
	"net/http"
	"strings"

	"miniblog/internal/web"
)

// Policy is the Content-Security-Policy of a page that loads its own files,
// talks to the origins in connect besides its own, and does nothing else.
// Strings never become markup or code.
func Policy(connect ...string) string {
	return strings.Join([]string{
		"default-src 'none'",
		"script-src 'self'",
		"style-src 'self'",
		"connect-src " + strings.Join(append([]string{"'self'"}, connect...), " "),
		"img-src 'self' data:",
		"base-uri 'none'",
		"form-action 'self'",
		"frame-ancestors 'none'",
		"require-trusted-types-for 'script'",
	}, "; ")
}

// Guarded adds the headers that keep a browser from doing with a page what the
// page does not need.
func Guarded(policy string, next web.Handler) web.Handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("X-Content-Type-Options", "nosniff")
		return next(w, r)
	}
}
