package openapi

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"net/http"
	"regexp"
	"strings"

	"berth/internal/ide"
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

// credential returns the API key of a request: "Authorization: Bearer KEY",
// "X-API-Key: KEY", or, for browsers, the password of Basic authentication.
func credential(r *http.Request) string {
	if key, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		return key
	}
	if key := r.Header.Get("X-API-Key"); key != "" {
		return key
	}
	if _, password, ok := r.BasicAuth(); ok && strings.HasPrefix(r.URL.Path, "/dashboard") {
		return password
	}
	return ""
}

// public says whether a path needs no key.
func public(path string) bool {
	switch path {
	case "/", "/api/health", "/livez", "/readyz", "/openapi.json", "/openapi.yaml":
		return true
	}
	return false
}

// principal returns whose key a secret is: one of the environment's, or one
// made at run time, which Redis is asked for, so that a revoked key is refused
// by every process at once.
func (s *server) principal(ctx context.Context, secret string) (p ide.Principal, ok bool, err error) {
	if p, ok = s.keys.find(secret); ok || len(secret) < MinKey {
		return p, ok, nil
	}
	k, ok, err := s.deps.Store.KeyByDigest(ctx, digest(secret))
	if !ok || err != nil {
		return p, false, err
	}
	if err := s.deps.Store.KeyUsed(ctx, k.Name); err != nil {
		return p, false, err
	}
	return ide.Principal{Name: k.Name, Role: k.Role, Limits: k.Limits}, true, nil
}

// digest is what is kept of a key, in hexadecimal.
func digest(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

// authenticate puts the principal into the request's context, and counts the
// request against its limit.
func (s *server) authenticate(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if public(r.URL.Path) {
			next.ServeHTTP(w, r)
			return
		}
		p, ok, err := s.principal(r.Context(), credential(r))
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
		limit := s.cfg.RateLimit
		if p.RateLimit > 0 {
			limit = p.RateLimit
		}
		if s.allow(w, r, "key:"+p.Name, limit) {
			next.ServeHTTP(w, r.WithContext(ide.WithPrincipal(r.Context(), p)))
		}
	})
}

// unauthorized is the one answer to a missing and to a wrong key. A browser
// on the dashboard asks for one.
func (s *server) unauthorized(w http.ResponseWriter, r *http.Request) {
	scheme := `Bearer realm="Berth"`
	if strings.HasPrefix(r.URL.Path, "/dashboard") {
		scheme = `Basic realm="Berth: any name, and an API key as the password"`
	}
	w.Header().Set("WWW-Authenticate", scheme)
	s.write(w, r, ide.Errorf(ide.AuthenticationFailed, "A valid API key is needed."))
}
