package main

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"miniblog/internal/web"
)

// contentSecurityPolicy lets the page load its own files and talk to the
// services, and nothing else. Strings never become markup or code.
func contentSecurityPolicy(services config) (string, error) {
	reach := []string{"'self'"}
	for _, base := range []string{services.Posts, services.Comments, services.Query} {
		if base == "" {
			continue
		}
		u, err := url.Parse(base)
		if err != nil {
			return "", fmt.Errorf("reading the URL %q: %w", base, err)
		}
		if strings.ContainsAny(u.Host, "[];,'*") {
			return "", fmt.Errorf("the host in %q cannot stand in a Content-Security-Policy: use a plain name or an IPv4 address", base)
		}
		if origin := u.Scheme + "://" + u.Host; !slices.Contains(reach, origin) {
			reach = append(reach, origin)
		}
	}
	return strings.Join([]string{
		"default-src 'none'",
		"script-src 'self'",
		"style-src 'self'",
		"connect-src " + strings.Join(reach, " "),
		"img-src 'self' data:",
		"base-uri 'none'",
		"form-action 'self'",
		"frame-ancestors 'none'",
		"require-trusted-types-for 'script'",
	}, "; "), nil
}

// guarded adds the headers that keep a browser from doing with the page what
// the page does not need.
func guarded(policy string, next web.Handler) web.Handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("X-Content-Type-Options", "nosniff")
		return next(w, r)
	}
}
