package console

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	_ "embed"
	"encoding/hex"
	"net/http"
	"strings"

	"miniblog/internal/web"
)

// Access says who may look and act. Nobody needs a token to reach a bus that only
// this machine can reach, unless one is set; from elsewhere nobody does without.
type Access struct {
	open  bool
	token string // "" and not open: nobody
}

// NewAccess returns the access to a bus that asks for token, if that is not "".
// loopback tells that only this machine can reach it.
func NewAccess(token string, loopback bool) *Access {
	return &Access{open: token == "" && loopback, token: token}
}

// cookie keeps the token in the browser, so that it need not stand in addresses.
const cookie = "miniblog-console"

// closed is what a person is told where no token can be the right one.
const closed = "The console is closed here, and so are /activity and replays: other machines can reach this event bus, and it has no CONSOLE_TOKEN. Set one, and open /?token=… with it."

// wrongToken is what somebody is told who brought another one.
const wrongToken = "This is not the token. It is the CONSOLE_TOKEN of the event bus."

// Guard lets next answer those who may look and act. A browser brings the token
// in an address once (/?token=…) and is sent on to the same address without it;
// a program brings it as a bearer token. Others get 401, or 403 while no token is
// set: people as a page, programs as a problem.
func (a *Access) Guard(next web.Handler) web.Handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		if a.open {
			return next(w, r)
		}
		w.Header().Set("Cache-Control", "no-store")
		if a.token == "" {
			return a.refuse(w, r, http.StatusForbidden, closed)
		}
		query := r.URL.Query()
		if query.Has("token") && r.Method == http.MethodGet {
			if !a.isToken(query.Get("token")) {
				return a.refuse(w, r, http.StatusUnauthorized, wrongToken)
			}
			http.SetCookie(w, &http.Cookie{
				Name: cookie, Value: a.cookieValue(), Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode,
				Secure: r.TLS != nil || r.Header.Get("X-Forwarded-Proto") == "https", MaxAge: 30 * 24 * 60 * 60,
			})
			query.Del("token")
			target := *r.URL
			target.RawQuery = query.Encode()
			http.Redirect(w, r, target.RequestURI(), http.StatusSeeOther)
			return nil
		}
		if bearer, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok && a.isToken(bearer) {
			return next(w, r)
		}
		if c, err := r.Cookie(cookie); err == nil && same(c.Value, a.cookieValue()) {
			return next(w, r)
		}
		w.Header().Set("WWW-Authenticate", "Bearer")
		return a.refuse(w, r, http.StatusUnauthorized, "The console asks for a token here: the CONSOLE_TOKEN of the event bus.")
	}
}

func (a *Access) isToken(text string) bool { return same(text, a.token) }

// cookieValue tells nobody the token.
func (a *Access) cookieValue() string {
	sum := sha256.Sum256([]byte("miniblog console " + a.token))
	return hex.EncodeToString(sum[:])
}

// same compares in a time that tells nothing, not even the length.
func same(a, b string) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}

//go:embed access.html
var askPage string

// refuse says why somebody may not look, and to a person where to put the token.
func (a *Access) refuse(w http.ResponseWriter, r *http.Request, status int, why string) error {
	w.Header().Add("Vary", "Accept")
	if r.Method != http.MethodGet || !strings.Contains(r.Header.Get("Accept"), "text/html") {
		return web.NewProblem(status, "%s", why)
	}
	class := ""
	if why == wrongToken {
		class = "wrong"
	}
	body := []byte(strings.NewReplacer("{{why}}", why, "{{class}}", class).Replace(askPage))
	if a.token == "" {
		start, end := bytes.Index(body, []byte("<form")), bytes.Index(body, []byte("</form>"))+len("</form>")
		body = append(body[:start:start], body[end:]...)
	}
	web.WriteBody(w, status, "text/html; charset=utf-8", body)
	return nil
}
