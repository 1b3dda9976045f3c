// Package openapi is the HTTP edge of the control plane: it checks each
// request against the OpenAPI document, which it generates from the
// operations themselves, answers what only looks, and turns what changes the
// world into jobs.
package openapi

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"reflect"
	"sync"
	"time"

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
	Origins        []string        // whose pages may use the API with a key; none is none but our own
	TLS            bool            // users reach it over https
	ReadTimeout    time.Duration   // for the body of a request; 0 is 10 s
	QueueWrite     bool            // admins may change queues at /dashboard/queues
	Beat           time.Duration   // of the dashboard's stream; 0 is 5 s
	Heartbeat      time.Duration   // of event streams; 0 is 15 s, below the idle limits of common proxies
	Draining       <-chan struct{} // closed when the process is to end: streams and waits end with it
}

func (c Config) readTimeout() time.Duration { return cmp.Or(c.ReadTimeout, 10*time.Second) }

func (c Config) beat() time.Duration { return cmp.Or(c.Beat, liveBeat) }

func (c Config) heartbeat() time.Duration { return cmp.Or(c.Heartbeat, 15*time.Second) }

type server struct {
	cfg     Config
	deps    *functions.Deps
	log     *slog.Logger
	keys    keyring
	metrics *metrics
	start   time.Time
	own     *http.CrossOriginProtection // what no page but ours passes
	live    *live                       // what open dashboards are told
	used    sync.Map                    // name of a key -> time.Time that was noted as its last use
}

// maxBody is the largest body of a request, in bytes: far more than any
// operation needs.
const maxBody = 64 << 10

// New returns the API's handler: everything under its host name.
func New(deps *functions.Deps, cfg Config) http.Handler {
	s := &server{cfg: cfg, deps: deps, log: deps.Log, keys: newKeyring(cfg.Keys), metrics: newMetrics(deps, cfg.Version), own: http.NewCrossOriginProtection(), start: time.Now()}
	s.live = &live{s: s}
	mux := http.NewServeMux()
	api := s.operations(mux)
	s.documents(mux, api.OpenAPI())
	s.page(mux)
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	mux.HandleFunc("GET /readyz", s.ready)
	s.dashboard(mux)
	h := http.NewCrossOriginProtection()
	h.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.write(w, r, ide.Errorf(ide.Forbidden, "A page of another origin may not change anything here."))
	}))
	for _, origin := range cfg.Origins {
		if err := h.AddTrustedOrigin(origin); err != nil {
			panic(fmt.Sprintf("openapi: %v", err)) // ParseOrigins has passed it
		}
	}
	return s.identify(s.recover(s.access(s.slow(s.share(h.Handler(s.authenticate(s.route(mux))))))))
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
	cfg.Info.Description = "Browser IDEs on Docker Swarm. What changes something answers 202 with a job, which can be polled, waited for or canceled. " +
		"Every answer has an X-Request-ID, and, where a key is needed, RateLimit-Limit, RateLimit-Remaining and RateLimit-Reset. " +
		"Unknown fields and query parameters are refused."
	cfg.OpenAPIPath, cfg.DocsPath, cfg.SchemasPath = "", "", ""
	cfg.CreateHooks = nil
	cfg.RejectUnknownQueryParameters = true
	cfg.Transformers = append(cfg.Transformers, s.setPath)
	cfg.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		"key":     {Type: "http", Scheme: "bearer", Description: "An API key; X-API-Key takes it as well."},
		"session": {Type: "apiKey", In: "cookie", Name: safeCookie, Description: "The cookie that POST /api/session sets; without TLS its name is " + plainCookie + ". It counts for pages of this origin only."},
	}
	cfg.Servers, cfg.Tags = []*huma.Server{{URL: "/", Description: "The host that served this document"}}, tags
	cfg.OnAddOperation = append(cfg.OnAddOperation, s.complete)
	api := humago.New(mux, cfg)
	api.UseMiddleware(s.enter)
	functions.Mount(api, s.deps, functions.Edge{
		Wait: s.wait, Shown: reflect.TypeFor[ContainerAnswer](),
		Container: func(ctx context.Context, id string) (any, error) { return s.shown(ctx, id) },
	})
	s.sessions(api)
	s.containers(api)
	s.keepalive(api)
	s.schedules(api)
	s.templates(api)
	s.jobs(api)
	s.events(api)
	s.logs(api)
	s.fleet(api)
	s.nodes(api)
	s.usage(api)
	s.dashboardStream(api)
	s.actions(api)
	s.apiKeys(api)
	s.webhooks(api)
	s.health(api)
	s.scrape(api)
	describeWebhooks(api.OpenAPI())
	nullable(api.OpenAPI())
	plain(api.OpenAPI())
	openAnswers(api.OpenAPI())
	return api
}

// documents serves the OpenAPI document. Each form is rendered once, when it is
// first asked for: a server answers the sooner for it.
func (s *server) documents(mux *http.ServeMux, doc *huma.OpenAPI) {
	serve := func(kind string, render func() ([]byte, error)) http.HandlerFunc {
		render = sync.OnceValues(render)
		return func(w http.ResponseWriter, r *http.Request) {
			body, err := render()
			if err != nil {
				s.write(w, r, fmt.Errorf("render the document: %w", err))
				return
			}
			w.Header().Set("Content-Type", kind)
			_, _ = w.Write(body) // a client that has gone away
		}
	}
	mux.HandleFunc("GET /openapi.json", serve("application/openapi+json", doc.MarshalJSON))
	mux.HandleFunc("GET /openapi.yaml", serve("application/openapi+yaml", doc.YAML))
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
