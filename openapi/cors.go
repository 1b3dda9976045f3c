package openapi

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/rs/cors"
)

// share lets the pages of other origins use the API with a key of theirs. No
// cookie goes with such a request.
func (s *server) share(next http.Handler) http.Handler {
	if len(s.cfg.Origins) == 0 {
		return next
	}
	return cors.New(cors.Options{
		AllowedOrigins: s.cfg.Origins,
		AllowedMethods: []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodDelete},
		AllowedHeaders: []string{"Accept", "Authorization", "Content-Type", "Idempotency-Key", "Last-Event-ID", "Prefer", "X-API-Key", "X-Request-ID"},
		ExposedHeaders: []string{"Location", "Retry-After", "RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset", "X-Request-ID"},
		MaxAge:         600,
	}).Handler(next)
}

// ParseOrigins reads CORS_ORIGINS: "https://app.example.com", as browsers
// send them. There is no "*": whoever holds a key names who may use it.
func ParseOrigins(list []string) ([]string, error) {
	var origins []string
	for _, text := range list {
		text = strings.TrimSpace(text)
		u, err := url.Parse(text)
		if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.Scheme+"://"+u.Host != text || strings.Contains(u.Host, "*") {
			return nil, fmt.Errorf("%q is no origin; one is https://host or http://host:port", text)
		}
		origins = append(origins, text)
	}
	return origins, nil
}
