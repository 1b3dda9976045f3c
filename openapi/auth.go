package openapi

import (
	"crypto/sha256"
	"crypto/subtle"
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

// keyring holds the digests of the keys.
type keyring []struct {
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

// authenticate puts the principal into the request's context, and counts the
// request against its limit.
func (s *server) authenticate(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if public(r.URL.Path) {
			next.ServeHTTP(w, r)
			return
		}
		p, ok := s.keys.find(credential(r))
		if !ok {
			if !s.allow(w, r, "address:"+s.address(r)) {
				return
			}
			if strings.HasPrefix(r.URL.Path, "/dashboard") {
				w.Header().Set("WWW-Authenticate", `Basic realm="Berth: any name, and an API key as the password"`)
			} else {
				w.Header().Set("WWW-Authenticate", `Bearer realm="Berth"`)
			}
			s.write(w, r, ide.Errorf(ide.AuthenticationFailed, "A valid API key is needed."))
			return
		}
		if s.allow(w, r, "key:"+p.Name) {
			next.ServeHTTP(w, r.WithContext(ide.WithPrincipal(r.Context(), p)))
		}
	})
}
