// Command berth is a self-hosted control plane for browser IDEs: it starts,
// routes, watches and stops containers on Docker Swarm.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"

	"berth/functions"
	"berth/internal/cli"
	"berth/internal/gateway"
	"berth/internal/store"
	"berth/internal/swarm"
	"berth/openapi"
	"berth/queue"
	"berth/worker"

	"github.com/alecthomas/kong"
	"github.com/caarlos0/env/v11"
	"golang.org/x/sync/errgroup"
)

// version is stamped by the release build.
var version = ""

// commands of the program.
type commands struct {
	Up      upCommand      `cmd:"" help:"Everything in one process: API, gateway, worker and, without REDIS_URL, a Redis of its own."`
	API     apiCommand     `cmd:"" name:"api" help:"The HTTP API and the dashboard."`
	Worker  workerCommand  `cmd:"" help:"Runs jobs against the engine of its node; one on every node."`
	Gateway gatewayCommand `cmd:"" help:"Routes the containers' host names to them."`
	Openapi openapiCommand `cmd:"" help:"Print the OpenAPI document."`
	Health  healthCommand  `cmd:"" help:"Ask a process on this machine whether it can serve; for health checks."`
	Version versionCommand `cmd:"" help:"Print the version."`

	cli.Commands
	cli.Globals
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Environ(), os.Stdout, os.Stderr)
	stop()
	switch {
	case errors.Is(err, cli.ErrJobFailed):
		os.Exit(2)
	case err != nil:
		fmt.Fprintln(os.Stderr, "berth:", err)
		os.Exit(1)
	}
}

// streams are what a command may read and write.
type streams struct {
	ctx     context.Context
	environ []string
	out     io.Writer
	err     io.Writer
}

// run is the whole program, for main and for tests.
func run(ctx context.Context, args, environ []string, stdout, stderr io.Writer) error {
	var cmds commands
	helped := false
	parser, err := kong.New(&cmds, kong.Name("berth"), kong.Description("Browser IDEs on Docker Swarm."),
		kong.Writers(stdout, stderr), kong.Exit(func(int) { helped = true }))
	if err != nil {
		return err
	}
	parsed, err := parser.Parse(args)
	if helped {
		return nil
	}
	if err != nil {
		return err
	}
	cmds.Bind(ctx, env.ToMap(environ), stdout, stderr)
	return parsed.Run(streams{ctx, environ, stdout, stderr}, &cmds.Globals)
}

type (
	upCommand      struct{}
	apiCommand     struct{}
	workerCommand  struct{}
	gatewayCommand struct{}
	openapiCommand struct{}
	healthCommand  struct{}
	versionCommand struct{}
)

// Run implements the command.
func (upCommand) Run(s streams) error {
	return serve(s, roles{api: true, worker: true, gateway: true})
}

// Run implements the command.
func (apiCommand) Run(s streams) error { return serve(s, roles{api: true}) }

// Run implements the command.
func (workerCommand) Run(s streams) error { return serve(s, roles{worker: true}) }

// Run implements the command.
func (gatewayCommand) Run(s streams) error { return serve(s, roles{gateway: true}) }

// Run implements the command.
func (versionCommand) Run(s streams) error {
	_, err := fmt.Fprintln(s.out, versionText())
	return err
}

// Run implements the command.
func (openapiCommand) Run(s streams) error {
	text, err := openapi.Document("v1").YAML()
	if err != nil {
		return err
	}
	_, err = s.out.Write(text)
	return err
}

// Run implements the command.
func (healthCommand) Run(s streams) error {
	cfg, err := LoadConfig(s.environ)
	if err != nil {
		return err
	}
	_, port, err := net.SplitHostPort(cfg.Listen)
	if err != nil {
		return fmt.Errorf("read LISTEN: %w", err)
	}
	ctx, cancel := context.WithTimeout(s.ctx, 3*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://127.0.0.1:"+port+"/readyz", nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("ask for health: %w", err)
	}
	defer res.Body.Close()
	if res.StatusCode >= 300 {
		return fmt.Errorf("not ready: %s", res.Status)
	}
	return nil
}

func versionText() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" && len(s.Value) >= 12 {
				return "dev-" + s.Value[:12]
			}
		}
	}
	return "dev"
}

// roles says what a process does.
type roles struct{ api, worker, gateway bool }

// serve runs roles until the context ends or one of them fails.
func serve(s streams, r roles) error {
	cfg, err := LoadConfig(s.environ)
	if err != nil {
		return err
	}
	if r.api {
		if err := cfg.readKeys(); err != nil {
			return err
		}
	}
	if r.api || r.worker {
		if err := cfg.makeBox(); err != nil {
			return err
		}
	}
	var level slog.Level
	if err := level.UnmarshalText([]byte(cfg.LogLevel)); err != nil {
		return err
	}
	log := slog.New(slog.NewJSONHandler(s.err, &slog.HandlerOptions{Level: level, ReplaceAttr: seconds}))
	rds, err := openRedis(s.ctx, cfg, r, log)
	if err != nil {
		return err
	}
	st := store.New(rds.Client, store.Config{JobRetention: cfg.JobRetention})
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		select {
		case <-ctx.Done():
		case <-rds.Done:
			if ctx.Err() == nil {
				return errors.New("the Redis of this process ended")
			}
		}
		return nil
	})
	if err = start(ctx, group, cfg, r, rds, st, log); err != nil {
		cancel()
	}
	err = errors.Join(err, group.Wait())
	log.Info("bye")
	return errors.Join(err, rds.Close())
}

// seconds writes durations as the API does, in seconds.
func seconds(_ []string, a slog.Attr) slog.Attr {
	if a.Value.Kind() == slog.KindDuration {
		return slog.Float64(a.Key, a.Value.Duration().Seconds())
	}
	return a
}

// openRedis connects to REDIS_URL, or brings a Redis where one process is all
// there is.
func openRedis(ctx context.Context, cfg *Config, r roles, log *slog.Logger) (*queue.Redis, error) {
	switch {
	case cfg.RedisURL != "":
		return queue.Connect(ctx, cfg.RedisURL)
	case r.api && r.worker && r.gateway:
		return queue.Bring(ctx, cfg.DataDir, log)
	}
	return nil, errors.New("REDIS_URL is needed: only `berth up`, which is one process, can bring its own Redis")
}

// start starts the roles in the group.
func start(ctx context.Context, group *errgroup.Group, cfg *Config, r roles, rds *queue.Redis, st *store.Store, log *slog.Logger) error {
	deps := &functions.Deps{Store: st, Queue: queue.New(rds.Client), Box: cfg.box, Log: log, HTTP: agentClient(), Settings: cfg.settings()}
	var api http.Handler
	var gw *gateway.Gateway
	if r.api {
		group.Go(func() error { return st.Follow(ctx, log) })
		api = openapi.New(deps, openapi.Config{Version: versionText(), Keys: cfg.keys, Durability: rds.Durability, Isolation: cfg.Isolation == "on",
			RateLimit: cfg.RateLimit, TrustedProxies: cfg.proxies, Draining: ctx.Done()})
	}
	if r.gateway {
		gw = gateway.New(gateway.Config{Domain: cfg.ContainerDomain, Routes: st.Routes, Changes: st.Changes, Report: st.ReportActivity, TrustedProxies: cfg.proxies, Log: log})
		group.Go(func() error { return gw.Run(ctx) })
	}
	if r.api || r.gateway {
		handler := front(gw, api, st)
		l, err := net.Listen("tcp", cfg.Listen)
		if err != nil {
			return fmt.Errorf("listen: %w", err)
		}
		log.Info("berth listens", "address", l.Addr().String(), "domain", cfg.Domain, "redis", rds.Durability)
		group.Go(func() error { return serveHTTP(ctx, l, handler) })
	}
	if r.worker {
		client, err := swarm.New(cfg.swarm())
		if err != nil {
			return err
		}
		deps.Swarm = client
		w := worker.New(rds.Client, deps, worker.Config{Version: versionText(), Concurrency: cfg.Concurrency, Grace: cfg.Grace,
			Isolation: cfg.Isolation == "on", ExecRoot: cfg.ExecRoot})
		group.Go(func() error { defer client.Close(); return w.Run(ctx) })
	}
	return nil
}

// front sends the containers' hosts to the gateway and all else to the API.
func front(gw *gateway.Gateway, api http.Handler, st *store.Store) http.Handler {
	if api == nil {
		mux := http.NewServeMux()
		mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
		mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
			if !gw.Ready() || st.Ping(r.Context()) != nil {
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
			w.WriteHeader(http.StatusNoContent)
		})
		mux.Handle("/", gw)
		api = mux
	}
	if gw == nil {
		return api
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if gw.Match(r.Host) {
			gw.ServeHTTP(w, r)
			return
		}
		api.ServeHTTP(w, r)
	})
}

// serveHTTP serves until ctx ends, and then lets requests finish.
func serveHTTP(ctx context.Context, l net.Listener, h http.Handler) error {
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(l) }()
	select {
	case err := <-done:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	if err := srv.Shutdown(end); err != nil {
		return errors.Join(err, srv.Close()) // a stream that does not end by itself
	}
	return nil
}

// agentClient calls agents and the edge: no proxy, no redirect.
func agentClient() *http.Client {
	return &http.Client{
		Timeout:       10 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport:     &http.Transport{MaxIdleConnsPerHost: 16, IdleConnTimeout: 30 * time.Second, DialContext: (&net.Dialer{Timeout: 2 * time.Second}).DialContext},
	}
}

// settings are the part of the configuration that functions see.
func (c *Config) settings() functions.Settings {
	return functions.Settings{
		URLScheme: c.URLScheme, ContainerDomain: c.ContainerDomain, EdgeURL: c.EdgeURL, DefaultImage: c.Image, ImageAllow: c.ImageAllow,
		AWSRegion: c.AWSRegion, Resources: c.resources, MaxResources: c.most, MaxPerKey: c.MaxPerKey, Pack: c.Placement == "pack",
	}
}

// swarm is the part of the configuration that the engine's adapter sees.
func (c *Config) swarm() swarm.Config {
	return swarm.Config{
		Host: c.DockerHost, Instance: c.Instance, Network: c.Network, Subnet: c.Subnet, Routing: c.Routing, TraefikV2: c.TraefikV2,
		EntryPoint: c.EntryPoint, CertResolver: c.CertResolver, StopGrace: c.StopGrace, ExecRoot: c.ExecRoot,
	}
}
