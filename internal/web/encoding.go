package web

import (
	"net/http"
	"strconv"
	"strings"
)

// AcceptsEncoding tells whether a request names a content coding, such as gzip or *,
// and does not refuse it (RFC 9110, section 12.5.3).
func AcceptsEncoding(r *http.Request, coding string) bool {
	for part := range strings.SplitSeq(strings.Join(r.Header.Values("Accept-Encoding"), ","), ",") {
		name, parameter, _ := strings.Cut(part, ";")
		if strings.EqualFold(strings.TrimSpace(name), coding) {
			q, weighted := strings.CutPrefix(strings.ToLower(strings.TrimSpace(parameter)), "q=")
			weight, err := strconv.ParseFloat(q, 64)
			return !weighted || err == nil && weight > 0
		}
	}
	return false
}
