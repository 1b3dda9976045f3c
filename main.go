// Command berth is a self-hosted control plane for browser IDEs: it starts,
// routes, watches and stops containers on Docker Swarm.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"syscall"
	"time"

	"berth/functions"
	"berth/internal/cli"
	"berth/internal/doctor"
	"berth/internal/ide"
	"berth/internal/process"
	"berth/internal/store"
	"berth/internal/swarm"
	"berth/openapi"
	"berth/queue"

	"github.com/alecthomas/kong"
	"github.com/caarlos0/env/v11"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"github.com/willabides/kongplete"
)

// version is stamped by the release build.
var version = ""

// commands of the program.
type commands struct {
	Up      upCommand      `cmd:"" help:"Everything in one process: API, gateway, worker and, without REDIS_URL, a Redis of its own."`
	API     apiCommand     `cmd:"" name:"api" help:"The HTTP API and the dashboard."`
	Worker  workerCommand  `cmd:"" help:"Runs jobs against the engine of its node; one on every node."`
	Gateway gatewayCommand `cmd:"" help:"Routes the containers' host names to them."`
	Rebuild rebuildCommand `cmd:"" help:"Bring the records of containers back from Swarm, where Redis has lost them. Workers do so by themselves."`
	Backup  backupCommand  `cmd:"" help:"Write what Swarm does not know, API keys, webhooks and history, to a file."`
	Restore restoreCommand `cmd:"" help:"Bring a backup into an empty Redis; containers then come back from Swarm."`
	Openapi openapiCommand `cmd:"" help:"Print the OpenAPI document."`
	Doctor  struct {
		All       doctorCommand    `cmd:"" default:"1" help:"Look for what is wrong with this installation; best inside a worker on a manager. Exit code 4 if something is."`
		Isolation isolationCommand `cmd:"" help:"Start two containers, look what they can reach, and remove them. Exit code 4 if it is more than it should be."`
	} `cmd:"" help:"Look for what is wrong with this installation."`
	SocketProxy socketProxyCommand `cmd:"" name:"socket-proxy" help:"Stand between workers and the engine's socket, and let through what they need."`
	Health      healthCommand      `cmd:"" help:"Ask a process on this machine whether it can serve; for health checks."`
	Version     versionCommand     `cmd:"" help:"Print the version."`

	Print kong.VersionFlag `name:"version" help:"Print the version."`
	cli.Commands
	cli.Globals
}

func main() {
	logging.Disable() // of go-redis, for commands; servers have a log
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Environ(), os.Stdout, os.Stderr)
	stop()
	code, told := cli.ExitCode(err)
	if !told {
		fmt.Fprintln(os.Stderr, "berth:", err)
	}
	os.Exit(code)
}

// connectionLog takes what go-redis, which has one log in a process, tells of
// single connections: for debugging, since whoever called is told as well.
type connectionLog struct{ *slog.Logger }

// Printf implements the interface of go-redis's SetLogger.
func (l connectionLog) Printf(ctx context.Context, format string, args ...any) {
	l.DebugContext(ctx, "redis", "line", fmt.Sprintf(format, args...))
}

// streams are what a command may read and write.
type streams struct {
	ctx     context.Context
	environ []string
	in      io.Reader
	out     io.Writer
	err     io.Writer
}

// run is the whole program, for main and for tests.
func run(ctx context.Context, args, environ []string, stdout, stderr io.Writer) error {
	var cmds commands
	helped := false
	parser, err := kong.New(&cmds, kong.Name("berth"), kong.Description("Browser IDEs on Docker Swarm.\n\n"+cli.ExitCodes),
		kong.Writers(stdout, stderr), kong.Exit(func(int) { helped = true }), kong.Vars{"version": versionText()})
	if err != nil {
		return err
	}
	kongplete.Complete(parser, kongplete.WithExitFunc(func(int) { helped = true }), // when a shell asks
		kongplete.WithPredictors(cli.Predictors(ctx, env.ToMap(environ))))
	if helped {
		return nil
	}
	switch {
	case len(args) == 0:
		args = []string{"--help"}
	case args[0] == "help":
		args = append(slices.Clone(args[1:]), "--help")
	}
	parsed, err := parser.Parse(args)
	if helped {
		return nil
	}
	if err != nil {
		return err
	}
	cmds.Bind(ctx, env.ToMap(environ), stdout, stderr)
	return parsed.Run(streams{ctx, environ, os.Stdin, stdout, stderr}, &cmds.Globals)
}

type (
	upCommand      struct{}
	apiCommand     struct{}
	workerCommand  struct{}
	gatewayCommand struct{}
	openapiCommand struct {
		Markdown bool `help:"The text of docs/API.md instead."`
	}
	healthCommand struct {
		Timeout cli.Span `default:"3s" help:"How long to wait for the answer."`
	}
	versionCommand struct{}
)

// Run implements the command.
func (upCommand) Run(s streams) error {
	return serve(s, process.Roles{API: true, Worker: true, Gateway: true})
}

// Run implements the command.
func (apiCommand) Run(s streams) error { return serve(s, process.Roles{API: true}) }

// Run implements the command.
func (workerCommand) Run(s streams) error { return serve(s, process.Roles{Worker: true}) }

// Run implements the command.
func (gatewayCommand) Run(s streams) error { return serve(s, process.Roles{Gateway: true}) }

// Run implements the command.
func (versionCommand) Run(s streams, g *cli.Globals) error {
	if g.Output == "json" {
		return json.NewEncoder(s.out).Encode(map[string]string{"version": versionText()})
	}
	_, err := fmt.Fprintln(s.out, versionText())
	return err
}

// Run implements the command.
func (c openapiCommand) Run(s streams) error {
	doc := openapi.Document("v1")
	if c.Markdown {
		_, err := io.WriteString(s.out, openapi.Markdown(doc))
		return err
	}
	text, err := doc.YAML()
	if err != nil {
		return err
	}
	_, err = s.out.Write(text)
	return err
}

// Run implements the command.
func (c healthCommand) Run(s streams) error {
	cfg, err := LoadConfig(s.environ)
	if err != nil {
		return err
	}
	_, port, err := net.SplitHostPort(cfg.Listen)
	if err != nil {
		return fmt.Errorf("read LISTEN: %w", err)
	}
	ctx, cancel := context.WithTimeout(s.ctx, time.Duration(c.Timeout))
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://127.0.0.1:"+port+"/readyz", nil)
	if err != nil {
		return err
	}
	res, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		return fmt.Errorf("ask for health: %w", err)
	}
	defer res.Body.Close()
	if res.StatusCode >= 300 {
		return fmt.Errorf("not ready: %s", res.Status)
	}
	return nil
}

// rebuildCommand compares Swarm with Redis, on a node whose engine is a manager.
type rebuildCommand struct {
	DryRun bool `help:"Only say what is missing."`
}

// Run implements the command.
func (c rebuildCommand) Run(s streams, g *cli.Globals) error {
	cfg, err := LoadConfig(s.environ)
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(s.err, &slog.HandlerOptions{Level: slog.LevelError}))
	rds, err := openRedis(s.ctx, cfg, process.Roles{}, log)
	if err != nil {
		return err
	}
	defer rds.Close()
	engine, err := swarm.New(cfg.swarm())
	if err != nil {
		return err
	}
	defer engine.Close()
	deps := &functions.Deps{Store: store.New(rds.Client, store.Config{}), Queue: queue.New(rds.Client), Swarm: engine, S3: cfg.s3, Log: log}
	missing, err := functions.Rebuild(s.ctx, deps, c.DryRun)
	if err != nil {
		return err
	}
	return g.Differences(missing, c.DryRun)
}

// doctorCommand looks at engine, Redis, names and all else that the servers
// with this environment need.
type doctorCommand struct{}

// Run implements the command.
func (doctorCommand) Run(s streams, g *cli.Globals) error {
	cfg, err := LoadConfig(s.environ)
	if err != nil {
		return g.Findings([]doctor.Finding{{Check: "configuration", Status: doctor.Fail, Found: err.Error(), Do: "Correct the setting; docs/config.md lists them all."}})
	}
	engine, err := swarm.New(cfg.swarm())
	if err != nil {
		return err
	}
	defer engine.Close()
	look := doctor.Config{Swarm: engine, S3: cfg.s3, Domain: cfg.Domain, ContainerDomain: cfg.ContainerDomain, TLS: cfg.URLScheme == "https", Isolation: cfg.Isolation == "on", Egress: cfg.Egress != "off"}
	for _, t := range cfg.templates {
		if t.Name == ide.DefaultTemplate {
			look.Images = slices.Insert(look.Images, 0, t.Image)
		} else if !slices.Contains(look.Images, t.Image) {
			look.Images = append(look.Images, t.Image)
		}
	}
	ctx, cancel := context.WithTimeout(s.ctx, 10*time.Second)
	defer cancel()
	rds, err := openRedis(ctx, cfg, process.Roles{}, slog.New(slog.DiscardHandler))
	if look.RedisErr = err; err == nil {
		defer rds.Close()
		look.Redis = rds.Client
	}
	return g.Findings(doctor.Examine(s.ctx, look))
}

// isolationCommand tests the isolation from the inside.
type isolationCommand struct{}

// Run implements the command.
func (isolationCommand) Run(s streams, g *cli.Globals) error {
	cfg, err := LoadConfig(s.environ)
	if err != nil {
		return err
	}
	engine, err := swarm.New(cfg.swarm())
	if err != nil {
		return err
	}
	defer engine.Close()
	look := doctor.Isolated{Swarm: engine, RedisURL: cfg.RedisURL, Listen: cfg.Listen}
	look.Template = cfg.templates[slices.IndexFunc(cfg.templates, func(t ide.Template) bool { return t.Name == ide.DefaultTemplate })]
	ctx, cancel := context.WithTimeout(s.ctx, 10*time.Second)
	defer cancel()
	if rds, err := openRedis(ctx, cfg, process.Roles{}, slog.New(slog.DiscardHandler)); err == nil { // without one there is less to look at
		defer rds.Close()
		look.Store = store.New(rds.Client, store.Config{})
	}
	return g.Findings(doctor.Isolation(s.ctx, look))
}

// socketProxyCommand serves the engine's API, less what nobody here needs.
type socketProxyCommand struct{}

// Run implements the command.
func (socketProxyCommand) Run(s streams) error {
	cfg, err := LoadConfig(s.environ)
	if err != nil {
		return err
	}
	log := slog.New(slog.NewJSONHandler(s.err, nil))
	proxy, err := swarm.NewProxy(cfg.DockerHost, cfg.Network, log)
	if err != nil {
		return err
	}
	if err := os.Remove(cfg.SocketProxy); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the last socket: %w", err)
	}
	l, err := net.Listen("unix", cfg.SocketProxy)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	if err := os.Chmod(cfg.SocketProxy, 0o600); err != nil {
		return errors.Join(fmt.Errorf("listen: %w", err), l.Close())
	}
	log.Info("socket proxy listens", "address", cfg.SocketProxy)
	return process.Serve(s.ctx, l, proxy, cfg.ReadTimeout)
}

// backupCommand and restoreCommand need nothing but Redis.
type (
	backupCommand struct {
		File string `arg:"" help:"File to write, in place of what is there; - is the output."`
	}
	restoreCommand struct {
		File    string `arg:"" help:"File to read; - is the input."`
		Replace bool   `help:"Also where there are containers, API keys or webhooks: they are dropped."`
	}
)

// Run implements the command.
func (c backupCommand) Run(s streams) error {
	return withStore(s, func(st *store.Store) error {
		return cli.WriteFile(c.File, s.out, func(w io.Writer) error {
			n, err := st.Backup(s.ctx, w, versionText())
			if err == nil {
				fmt.Fprintf(s.err, "%d entries\n", n)
			}
			return err
		})
	})
}

// Run implements the command.
func (c restoreCommand) Run(s streams) error {
	return withStore(s, func(st *store.Store) error {
		return cli.ReadFile(c.File, s.in, func(r io.ReadSeeker) error {
			h, n, err := st.RestoreBackup(s.ctx, r, c.Replace)
			if err == nil {
				fmt.Fprintf(s.err, "%d entries of %s; workers bring the containers back from Swarm\n", n, h.At.Format(time.RFC3339))
			}
			return err
		})
	})
}

// withStore does something with the Redis that the servers use.
func withStore(s streams, do func(*store.Store) error) error {
	cfg, err := LoadConfig(s.environ)
	if err != nil {
		return err
	}
	rds, err := openRedis(s.ctx, cfg, process.Roles{}, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	return errors.Join(do(store.New(rds.Client, store.Config{})), rds.Close())
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

// serve runs roles until the context ends or one of them fails.
func serve(s streams, r process.Roles) error {
	cfg, err := LoadConfig(s.environ)
	if err != nil {
		return err
	}
	if r.API {
		if err := cfg.readKeys(); err != nil {
			return err
		}
	}
	if r.API || r.Worker {
		if err := cfg.makeBox(); err != nil {
			return err
		}
	}
	p := cfg.process(r)
	p.Version = versionText()
	p.Log, err = cfg.log(s.err)
	if err != nil {
		return err
	}
	redis.SetLogger(connectionLog{slog.New(p.Log)})
	return process.Run(s.ctx, p)
}

// openRedis connects to REDIS_URL, or brings a Redis where one process is all
// there is. A command, which has no role, joins the one that was brought.
func openRedis(ctx context.Context, cfg *Config, r process.Roles, log *slog.Logger) (*queue.Redis, error) {
	switch {
	case cfg.RedisURL != "":
		patience := time.Minute // a server's, before it ends and is started again
		if r == (process.Roles{}) {
			patience = 5 * time.Second // somebody waits
		}
		return queue.Connect(ctx, cfg.RedisURL, patience, log)
	case r.API && r.Worker && r.Gateway:
		return queue.Bring(ctx, cfg.DataDir, log)
	case r == process.Roles{}:
		return queue.Attach(ctx, cfg.DataDir)
	}
	return nil, errors.New("REDIS_URL is needed: only `berth up`, which is one process, can bring its own Redis")
}
