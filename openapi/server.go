// Package openapi is the HTTP edge of the control plane: it checks each
// request against the OpenAPI document, which it generates from the
// operations themselves, answers what only looks, and turns what changes the
// world into jobs.
package openapi

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"

	"berth/dashboard"
	"berth/functions"
	"berth/internal/ide"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
)

// Config of the API.
type Config struct {
	Version        string
	Keys           []Key
	Durability     string // of the Redis in use, shown in health
	Isolation      bool
	RateLimit      int             // requests a minute of one key, or of one address without a key; 0 is any number
	TrustedProxies []netip.Prefix  // whose X-Forwarded-For is believed
	Draining       <-chan struct{} // closed when the process is to end: streams and waits end with it
}

type server struct {
	cfg   Config
	deps  *functions.Deps
	log   *slog.Logger
	keys  keyring
	start time.Time
}

// maxBody is the largest body of a request, in bytes: far more than any
// operation needs.
const maxBody = 64 << 10

// New returns the API's handler: everything under its host name.
func New(deps *functions.Deps, cfg Config) http.Handler {
	s := &server{cfg: cfg, deps: deps, log: deps.Log, keys: newKeyring(cfg.Keys), start: time.Now()}
	mux := http.NewServeMux()
	api := s.operations(mux)
	s.documents(mux, api.OpenAPI())
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	mux.HandleFunc("GET /readyz", s.ready)
	mux.Handle("GET /dashboard", dashboard.Handler(s.view))
	mux.Handle("GET /{$}", http.RedirectHandler("/dashboard", http.StatusFound))
	h := http.CrossOriginProtection{}
	h.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.write(w, r, ide.Errorf(ide.Forbidden, "A page of another origin may not change anything here."))
	}))
	return s.identify(s.recover(s.access(h.Handler(s.authenticate(s.route(mux))))))
}

// Document returns the OpenAPI document, for `berth openapi`.
func Document(version string) *huma.OpenAPI {
	s := &server{cfg: Config{Version: version}, deps: &functions.Deps{Log: slog.New(slog.DiscardHandler)}}
	return s.operations(http.NewServeMux()).OpenAPI()
}

// setUpHuma sets what Huma has as package variables.
var setUpHuma = sync.OnceFunc(func() {
	huma.NewError = newError
	huma.ValidateStrictCasing = true
	huma.DefaultArrayNullable = false
})

// operations mounts every operation on mux.
func (s *server) operations(mux *http.ServeMux) huma.API {
	setUpHuma()
	cfg := huma.DefaultConfig("Berth", s.cfg.Version)
	cfg.Info.Description = "Browser IDEs on Docker Swarm. What changes something answers 202 with a job, which can be polled, waited for or canceled."
	cfg.OpenAPIPath, cfg.DocsPath, cfg.SchemasPath = "", "", ""
	cfg.CreateHooks = nil
	cfg.RejectUnknownQueryParameters = true
	cfg.Transformers = append(cfg.Transformers, s.setPath)
	cfg.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		"key": {Type: "http", Scheme: "bearer", Description: "An API key; X-API-Key takes it as well."},
	}
	cfg.OnAddOperation = append(cfg.OnAddOperation, func(_ *huma.OpenAPI, op *huma.Operation) {
		delete(op.Responses, "422") // validation is 400 here; a reused Idempotency-Key alone is 422
		if op.Method != http.MethodGet {
			op.MaxBodyBytes = maxBody
			if slices.ContainsFunc(op.Parameters, func(p *huma.Param) bool { return p.Name == "Idempotency-Key" }) {
				op.Responses["422"] = op.Responses["400"]
			}
		}
	})
	api := humago.New(mux, cfg)
	functions.Mount(api, s.deps)
	s.containers(api)
	s.jobs(api)
	s.events(api)
	s.apiKeys(api)
	s.health(api)
	return api
}

// documents serves the OpenAPI document, rendered once.
func (s *server) documents(mux *http.ServeMux, doc *huma.OpenAPI) {
	asJSON, err := json.Marshal(doc)
	if err != nil {
		panic(fmt.Sprintf("openapi: encode document: %v", err)) // it is made of our own types
	}
	asYAML, err := doc.YAML()
	if err != nil {
		panic(fmt.Sprintf("openapi: encode document: %v", err))
	}
	serve := func(kind string, body []byte) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", kind)
			_, _ = w.Write(body) // a client that has gone away
		}
	}
	mux.HandleFunc("GET /openapi.json", serve("application/openapi+json", asJSON))
	mux.HandleFunc("GET /openapi.yaml", serve("application/openapi+yaml", asYAML))
}

// route gives unknown paths and methods our envelope.
func (s *server) route(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h, pattern := mux.Handler(r)
		if pattern != "" {
			mux.ServeHTTP(w, r)
			return
		}
		probe := &headerRecorder{header: http.Header{}}
		h.ServeHTTP(probe, r)
		if probe.status == http.StatusMethodNotAllowed {
			w.Header()["Allow"] = probe.header["Allow"]
			s.write(w, r, ide.Errorf(ide.MethodNotAllowed, "%s is not allowed here.", r.Method))
			return
		}
		s.write(w, r, ide.Errorf(ide.NotFound, "There is nothing here."))
	})
}

// headerRecorder takes the answer of the router's own handlers.
type headerRecorder struct {
	header http.Header
	status int
}

func (h *headerRecorder) Header() http.Header         { return h.header }
func (h *headerRecorder) Write(b []byte) (int, error) { return len(b), nil }
func (h *headerRecorder) WriteHeader(status int)      { h.status = status }
