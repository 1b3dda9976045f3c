package openapi

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"berth/dashboard"
	"berth/internal/ide"
	"berth/internal/store"
)

// MinKey is the least length of an API key, in characters.
const MinKey = 32

// Key is an API key as the operator gave it.
type Key struct {
	Name   string
	Role   ide.Role
	Secret string
}

// keyName is the form of a key's name: it owns containers, so it stands in
// labels and Redis keys.
var keyName = regexp.MustCompile(`^[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?$`)

// ParseKeys reads API_KEY (one admin key, named "admin") and API_KEYS
// ("name:role:key,…"). Errors name the key and never show it.
func ParseKeys(one, several string) ([]Key, error) {
	var keys []Key
	if one != "" {
		keys = append(keys, Key{Name: "admin", Role: ide.Admin, Secret: one})
	}
	for i, entry := range strings.Split(several, ",") {
		if entry = strings.TrimSpace(entry); entry == "" {
			continue
		}
		parts := strings.SplitN(entry, ":", 3)
		if len(parts) != 3 {
			return nil, fmt.Errorf("entry %d of API_KEYS is not name:role:key", i+1)
		}
		keys = append(keys, Key{Name: parts[0], Role: ide.Role(parts[1]), Secret: parts[2]})
	}
	seen := map[string]bool{}
	for _, k := range keys {
		switch {
		case !keyName.MatchString(k.Name):
			return nil, fmt.Errorf("%q is no name for an API key: lower-case letters, digits, dots, hyphens and underscores", k.Name)
		case k.Role != ide.Admin && k.Role != ide.Client && k.Role != ide.Viewer:
			return nil, fmt.Errorf("API key %q has the role %q; it can be admin, client or viewer", k.Name, k.Role)
		case len(k.Secret) < MinKey:
			return nil, fmt.Errorf("API key %q has %d characters, at least %d are needed", k.Name, len(k.Secret), MinKey)
		case seen[k.Name]:
			return nil, fmt.Errorf("there are two API keys named %q", k.Name)
		}
		seen[k.Name] = true
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("no API key: set API_KEY to at least %d random characters", MinKey)
	}
	return keys, nil
}

// keyring holds the digests of the environment's keys.
type keyring []ringKey

type ringKey struct {
	digest    [sha256.Size]byte
	principal ide.Principal
}

func newKeyring(keys []Key) keyring {
	ring := make(keyring, len(keys))
	for i, k := range keys {
		ring[i].digest = sha256.Sum256([]byte(k.Secret))
		ring[i].principal = ide.Principal{Name: k.Name, Role: k.Role}
	}
	return ring
}

// find returns whose key it is. Every key is compared, in constant time.
func (ring keyring) find(secret string) (p ide.Principal, ok bool) {
	digest := sha256.Sum256([]byte(secret))
	for _, k := range ring {
		if subtle.ConstantTimeCompare(digest[:], k.digest[:]) == 1 {
			p, ok = k.principal, true
		}
	}
	return p, ok
}

// credential returns the API key of a request: "Authorization: Bearer KEY" or
// "X-API-Key: KEY". A scheme may be written in capitals or not (RFC 9110, 11.1).
func credential(r *http.Request) string {
	if scheme, key, ok := strings.Cut(r.Header.Get("Authorization"), " "); ok && strings.EqualFold(scheme, "Bearer") {
		return strings.TrimLeft(key, " ")
	}
	return r.Header.Get("X-API-Key")
}

// public says whether a path needs no key.
func public(path string) bool {
	switch path {
	case "/", "/api/health", "/livez", "/readyz", "/openapi.json", "/openapi.yaml":
		return true
	}
	if below(path, dashboard.Path) {
		return !below(path, dashboard.QueuesPath) // the page has no data of its own
	}
	return pageRoutes[path] != ""
}

// below says whether a path is another one or begins with it.
func below(path, root string) bool {
	rest, ok := strings.CutPrefix(path, root)
	return ok && (rest == "" || rest[0] == '/')
}

// principal returns whose key a secret is: one of the environment's, or one
// made at run time, which Redis is asked for, so that a revoked key is refused
// by every process at once.
func (s *server) principal(ctx context.Context, secret string) (p ide.Principal, ok bool, err error) {
	if p, ok = s.keys.find(secret); !ok && len(secret) >= MinKey {
		var k ide.Key
		if k, ok, err = s.deps.Store.KeyByDigest(ctx, digest(secret)); err != nil {
			return p, false, err
		}
		p = ide.Principal{Name: k.Name, Role: k.Role, Limits: k.Limits}
	}
	if ok {
		s.noteUse(ctx, p.Name)
	}
	return p, ok, nil
}

// useNoted is how exactly the last use of a key is kept.
const useNoted = 10 * time.Second

// noteUse keeps when a key was last used. It is no reason to refuse a request
// when Redis does not take it.
func (s *server) noteUse(ctx context.Context, name string) {
	now := time.Now()
	if last, ok := s.used.Load(name); ok && now.Sub(last.(time.Time)) < useNoted {
		return
	}
	if err := s.deps.Store.KeyUsed(ctx, name, now); err == nil {
		s.used.Store(name, now)
	}
}

// digest is what is kept of a key, in hexadecimal.
func digest(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

// authenticate puts the principal into the request's context, and counts the
// request against its limit. A key counts before a session; those of a key have
// a limit of their own, so that a program cannot shut a page out.
func (s *server) authenticate(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == http.MethodPost && r.URL.Path == sessionPath:
			if s.signIn(w, r) {
				next.ServeHTTP(w, r)
			}
			return
		case public(r.URL.Path):
			next.ServeHTTP(w, r)
			return
		}
		ctx, who := r.Context(), "key:"
		key := credential(r)
		p, ok, err := s.principal(ctx, key)
		times := 1
		if token := s.token(r); key == "" && token != "" {
			var n store.Session
			if p, n, ok, err = s.whose(ctx, token); ok {
				who, times, callOf(ctx).session = "session:", sessionLimit, &n
				var cancel context.CancelFunc
				ctx, cancel = context.WithDeadline(ctx, n.Expires)
				defer cancel()
				s.noteUse(ctx, p.Name)
			}
		}
		if err != nil {
			s.write(w, r, err)
			return
		}
		if !ok {
			if s.allow(w, r, "address:"+s.address(r), s.cfg.RateLimit) {
				s.unauthorized(w, r)
			}
			return
		}
		callOf(ctx).key = p.Name
		limit := s.cfg.RateLimit
		if p.RateLimit > 0 {
			limit = p.RateLimit
		}
		if s.allow(w, r, who+p.Name, limit*times) {
			next.ServeHTTP(w, r.WithContext(ide.WithPrincipal(ctx, p)))
		}
	})
}

// errUnauthenticated is the one error of a missing and of a wrong key.
func errUnauthenticated() *ide.Error {
	return ide.Errorf(ide.AuthenticationFailed, "A valid API key is needed.")
}

// unauthorized answers with it; who opens the queue's page is sent to sign in.
func (s *server) unauthorized(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet && strings.HasPrefix(r.URL.Path, dashboard.QueuesPath) && strings.Contains(r.Header.Get("Accept"), "text/html") {
		http.Redirect(w, r, dashboard.Path+"/login?next="+url.QueryEscape(r.URL.Path), http.StatusSeeOther)
		return
	}
	s.write(w, r, errUnauthenticated())
}
