package main

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"berth/internal/ide"
)

const (
	drainTime   = 5 * time.Second
	idleTimeout = 120 * time.Second // longer than the gateway's, so that this side never closes first
)

// agent is the process: one server per port, over one workspace, and in the
// full image the programs behind them.
type agent struct {
	cfg      config
	root     *os.Root // the workspace; nothing reached through it lies outside
	log      *slog.Logger
	now      func() time.Time
	started  time.Time
	versions map[string]string
	services []*service
	programs []*program
	desktop  *desktop // nil in the slim image

	ready atomic.Bool // every port is open
	whole atomic.Bool // and every program that is needed has been up

	mu   sync.Mutex
	last activity
}

// service is what answers on one of the users' ports.
type service struct {
	port        ide.Port
	handler     http.Handler
	up          func() bool  // whether what the port is for is there
	program     *program     // nil where the agent itself is the service
	connections atomic.Int64 // requests under way, and what they have become
}

// newAgent opens the workspace, making it if it is not there.
func newAgent(cfg config, log *slog.Logger) (*agent, error) {
	if err := os.MkdirAll(cfg.Workspace, 0o755); err != nil {
		return nil, fmt.Errorf("make workspace: %w", err)
	}
	root, err := os.OpenRoot(cfg.Workspace)
	if err != nil {
		return nil, fmt.Errorf("open workspace: %w", err)
	}
	a := &agent{cfg: cfg, root: root, log: log, now: time.Now, started: time.Now().UTC()}
	a.last = activity{At: a.started, Source: "start"}
	if cfg.Image.full() {
		if err := a.furnish(); err != nil {
			root.Close()
			return nil, err
		}
		return a, nil
	}
	always := func() bool { return true }
	a.services = []*service{
		{port: ide.PortVNC, handler: a.guard("vnc", "Desktop", cfg.Secrets.VNCPassword, http.HandlerFunc(a.noDesktop)), up: always},
		{port: ide.PortCode, handler: a.guard("code", "Editor", cfg.Secrets.CodePassword, a.editor()), up: always},
		{port: ide.PortWeb, handler: http.HandlerFunc(a.web), up: a.hasSite},
	}
	return a, nil
}

// furnish makes the services of the full image.
func (a *agent) furnish() error {
	a.versions = readVersions(a.cfg.Image.Versions)
	os.Remove(a.file(activityFile)) // a restarted container's
	code, err := newCodeServer(a)
	if err != nil {
		return err
	}
	if a.desktop, err = newDesktop(a); err != nil {
		return err
	}
	site := newWebServer(a)
	up := func(p *program) func() bool { return func() bool { return p.now().Up } }
	a.services = []*service{
		{port: ide.PortVNC, handler: a.desktop, up: up(a.desktop.x), program: a.desktop.x},
		{port: ide.PortCode, handler: code, up: up(code.program), program: code.program},
		{port: ide.PortWeb, handler: site, up: site.up, program: site.program},
	}
	a.programs = []*program{a.desktop.x, a.desktop.wm, code.program, site.program}
	debug.FreeOSMemory() // what hashing the password took
	return nil
}

// file is the name of one of the agent's own files.
func (a *agent) file(name string) string { return filepath.Join(a.cfg.State, name) }

// environ is what programs inherit: the agent's environment without what is the
// agent's own, and the display.
func (a *agent) environ() []string {
	env := []string{"DISPLAY=" + display, "XENVIRONMENT=/etc/X11/app-defaults/XTerm-berth"}
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "WEB_COMMAND=") && !strings.HasPrefix(v, "BERTH_SECRET_FILE=") {
			env = append(env, v)
		}
	}
	return env
}

// run serves all ports until ctx ends, then lets requests under way finish, for
// 5 s at most, and ends all programs. It fails when a port cannot be opened or a server breaks.
func (a *agent) run(ctx context.Context, listen listenFunc) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	type bound struct {
		srv *http.Server
		l   net.Listener
	}
	var all []bound
	defer func() {
		for _, b := range all {
			b.srv.Close()
			b.l.Close()
		}
	}()
	open := func(host string, port uint16, h http.Handler) error {
		l, err := listen(ctx, host, port)
		if err != nil {
			return fmt.Errorf("open port %d: %w", port, err)
		}
		all = append(all, bound{&http.Server{
			Handler:           h,
			ReadHeaderTimeout: 10 * time.Second,
			IdleTimeout:       idleTimeout,
			ErrorLog:          slog.NewLogLogger(a.log.Handler(), slog.LevelDebug),
		}, l})
		return nil
	}
	for _, s := range a.services {
		hosts := []string{""}
		if s.port == ide.PortWeb && a.cfg.Image.full() { // the others are the user's server's
			hosts = outerAddresses()
		}
		for _, host := range hosts {
			if err := open(host, s.port.Number, a.own(s)); err != nil {
				return err
			}
		}
	}
	if err := open("", ide.AgentPort, a.control()); err != nil {
		return err
	}
	var wg sync.WaitGroup
	for _, b := range all {
		wg.Go(func() {
			if err := b.srv.Serve(b.l); !errors.Is(err, http.ErrServerClosed) {
				cancel(fmt.Errorf("serve %s: %w", b.l.Addr(), err))
			}
		})
	}
	for _, p := range a.programs {
		wg.Go(func() { p.run(ctx) })
	}
	if a.desktop != nil {
		tick := time.NewTicker(activityEvery)
		defer tick.Stop()
		wg.Go(func() { a.watchDesktop(ctx, tick.C) })
	}
	a.ready.Store(true)
	a.log.Info("agent runs", "container", a.cfg.ID, "version", version(), "workspace", a.cfg.Workspace, "full", a.cfg.Image.full())

	<-ctx.Done()
	a.ready.Store(false)
	drain, stop := context.WithTimeout(context.WithoutCancel(ctx), drainTime)
	defer stop()
	for _, b := range all {
		wg.Go(func() {
			if b.srv.Shutdown(drain) != nil {
				b.srv.Close()
			}
		})
	}
	wg.Wait()
	a.log.Info("agent has stopped", "container", a.cfg.ID)
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// own counts open requests, and refuses those that were meant for another
// container. Swarm gives an address to another task when the first is gone, and
// an edge that has not heard of it yet must not show one user's container under
// another's name.
func (a *agent) own(s *service) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if id, _, ok := strings.Cut(strings.ToLower(r.Host), "-"); ok && ide.ValidID(id) && id != a.cfg.ID {
			http.Error(w, "This is another container.", http.StatusMisdirectedRequest)
			return
		}
		if r.URL.Path != healthPath {
			s.connections.Add(1)
			defer s.connections.Add(-1)
		}
		s.handler.ServeHTTP(w, r)
	})
}

// same compares two secrets in a time that says nothing of either, its length
// included.
func same(a, b string) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}
