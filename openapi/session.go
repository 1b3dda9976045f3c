package openapi

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strings"
	"time"

	"berth/internal/ide"
	"berth/internal/store"

	"github.com/danielgtaylor/huma/v2"
)

// Bounds of sessions.
const (
	sessionTime  = 12 * time.Hour
	sessionLimit = 6  // times the rate limit of its key: a page asks for more than a program does
	signInLimit  = 30 // attempts a minute of one address, where RATE_LIMIT is not less
)

// Names of the cookie. Browsers keep one that begins with __Host- only if this
// host has set it over TLS, for itself and for all paths: no container, which
// answers under a sub-domain, can put one of its own in its place.
const (
	safeCookie  = "__Host-berth"
	plainCookie = "berth"
)

// sessionPath is where a key is exchanged for a cookie.
const sessionPath = "/api/session"

// SessionRequest exchanges an API key for a cookie.
type SessionRequest struct {
	Key string `json:"key" minLength:"1" maxLength:"1000" example:"berth_0123456789abcdefghijklmnopqrstuvwxyzABCD" doc:"An API key"`
}

// SessionAnswer says who calls.
type SessionAnswer struct {
	Name       string     `json:"name" example:"course-1" doc:"Name of the API key"`
	Role       ide.Role   `json:"role" enum:"admin,client,viewer" doc:"admin sees and does all, client its own, viewer sees all and changes nothing"`
	ExpiresAt  *time.Time `json:"expiresAt,omitempty" doc:"When the session ends; missing for a call with a key"`
	Version    string     `json:"version" example:"v1.4.0" doc:"Of the control plane"`
	QueueAdmin bool       `json:"queueAdmin" doc:"The caller may open /dashboard/queues"`
}

// cookieAnswer is an answer that sets or clears the cookie.
type cookieAnswer struct {
	Cookie http.Cookie `header:"Set-Cookie" doc:"The session: HttpOnly, SameSite=Strict, without a Domain; under TLS Secure, and its name begins with __Host-"`
}

// secured says whether the browser came over TLS, which may end at a proxy
// that the operator trusts.
func (s *server) secured(r *http.Request) bool {
	if s.cfg.TLS || r.TLS != nil {
		return true
	}
	proto, _, _ := strings.Cut(r.Header.Get("X-Forwarded-Proto"), ",")
	return strings.EqualFold(strings.TrimSpace(proto), "https") && s.trusted(peer(r))
}

func (s *server) cookie(secured bool, token string, expires time.Time) http.Cookie {
	c := http.Cookie{Name: plainCookie, Value: token, Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode, Expires: expires}
	if secured {
		c.Name, c.Secure = safeCookie, true
	}
	if token == "" {
		c.MaxAge = -1
	}
	return c
}

// token returns what the cookie of a request holds. For a page of another
// origin there is none: what it asks for with the user's cookie is not what the
// user asks for. Browsers say whose page it is; a write without a word of it is
// no browser's that we know.
func (s *server) token(r *http.Request) string {
	name := plainCookie
	if s.secured(r) {
		name = safeCookie
	}
	c, err := r.Cookie(name)
	if err != nil || c.Value == "" {
		return ""
	}
	site := r.Header.Get("Sec-Fetch-Site")
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		if (site == "same-site" || site == "cross-site") && r.Header.Get("Sec-Fetch-Mode") != "navigate" {
			return ""
		}
	default:
		if site == "" && r.Header.Get("Origin") == "" || s.own.Check(r) != nil {
			return ""
		}
	}
	return c.Value
}

// proof says that a session is of the key with this digest, and nothing of the
// key to who has no token.
func proof(token, digest string) string {
	mac := hmac.New(sha256.New, []byte(token))
	mac.Write([]byte(digest))
	return hex.EncodeToString(mac.Sum(nil))
}

// session is a new session of a key.
func session(token, name, key string) store.Session {
	return store.Session{ID: digest(token), Key: name, Proof: proof(token, digest(key)), Expires: time.Now().Add(sessionTime).UTC().Truncate(time.Second)}
}

// whose returns whose session a token is of. It ends with its key: each
// request looks for both.
func (s *server) whose(ctx context.Context, token string) (p ide.Principal, n store.Session, ok bool, err error) {
	n, made, ok, err := s.deps.Store.Session(ctx, digest(token))
	if !ok {
		return p, n, false, err
	}
	of := func(digest string) bool { return hmac.Equal([]byte(proof(token, digest)), []byte(n.Proof)) }
	for _, k := range s.keys {
		if k.principal.Name == n.Key && of(hex.EncodeToString(k.digest[:])) {
			return k.principal, n, true, nil
		}
	}
	if made.Digest != "" && of(made.Digest) {
		return ide.Principal{Name: made.Name, Role: made.Role, Limits: made.Limits}, n, true, nil
	}
	return p, n, false, nil
}

// signIn counts an attempt to exchange a key against the limit of its address.
func (s *server) signIn(w http.ResponseWriter, r *http.Request) bool {
	return s.allow(w, r, "signin:"+s.address(r), min(s.cfg.RateLimit, signInLimit))
}

// sessions serves the exchange of a key for a cookie. A session needs no key
// of its own: it has the rights of the one that it was exchanged for.
func (s *server) sessions(api huma.API) {
	create := read("create-session", sessionPath, "session", "Sign in a browser: exchange an API key for a cookie, for 12 hours", http.StatusUnauthorized, http.StatusTooManyRequests)
	create.Method, create.DefaultStatus, create.Security = http.MethodPost, http.StatusNoContent, []map[string][]string{} // none, said as such
	huma.Register(api, create, func(ctx context.Context, in *struct{ Body SessionRequest }) (*cookieAnswer, error) {
		p, ok, err := s.principal(ctx, in.Body.Key)
		if err != nil {
			return nil, err
		}
		if !ok {
			return nil, errUnauthenticated()
		}
		token := rand.Text() + rand.Text()
		n := session(token, p.Name, in.Body.Key)
		if err := s.deps.Store.AddSession(ctx, n); err != nil {
			return nil, err
		}
		callOf(ctx).key = p.Name
		return &cookieAnswer{s.cookie(callOf(ctx).secured, token, n.Expires)}, nil
	})
	huma.Register(api, read("get-session", sessionPath, "session", "Whose session or key it is"), func(ctx context.Context, _ *struct{}) (*body[SessionAnswer], error) {
		p := ide.PrincipalOf(ctx)
		out := SessionAnswer{Name: p.Name, Role: p.Role, Version: s.cfg.Version, QueueAdmin: p.Role == ide.Admin}
		if n := callOf(ctx).session; n != nil {
			out.ExpiresAt = &n.Expires
		}
		return &body[SessionAnswer]{out}, nil
	})
	remove := read("delete-session", sessionPath, "session", "Sign out: end the session whose cookie comes with the request")
	remove.Method, remove.DefaultStatus = http.MethodDelete, http.StatusNoContent
	huma.Register(api, remove, func(ctx context.Context, _ *struct{}) (*cookieAnswer, error) {
		if n := callOf(ctx).session; n != nil {
			if err := s.deps.Store.EndSession(ctx, *n); err != nil {
				return nil, err
			}
		}
		return &cookieAnswer{s.cookie(callOf(ctx).secured, "", time.Time{})}, nil
	})
}
