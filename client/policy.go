package main

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	"miniblog/internal/page"
)

// contentSecurityPolicy lets the page load its own files and talk to the
// services, and nothing else. Strings never become markup or code.
func contentSecurityPolicy(services config) (string, error) {
	var reach []string
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
	return page.Policy(reach...), nil
}
