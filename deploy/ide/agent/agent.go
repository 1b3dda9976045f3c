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

// agent is the process: one server per port, over one workspace.
type agent struct {
	cfg      config
	root     *os.Root // the workspace; nothing reached through it lies outside
	log      *slog.Logger
	now      func() time.Time
	started  time.Time
	services []service

	connections atomic.Int64 // requests under way on the users' ports
	ready       atomic.Bool  // every port is open

	mu   sync.Mutex
	last activity
}

// activity is the last thing a person did, and where.
type activity struct {
	At     time.Time `json:"at"`
	Source string    `json:"source"` // start, editor or web
}

// service is what answers on one of the users' ports.
type service struct {
	port    ide.Port
	handler http.Handler
	up      func() bool // whether what the port is for is there
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
	always := func() bool { return true }
	a.services = []service{
		{ide.PortVNC, a.guard("vnc", "Desktop", cfg.Secrets.VNCPassword, http.HandlerFunc(a.noDesktop)), always},
		{ide.PortCode, a.guard("code", "Editor", cfg.Secrets.CodePassword, a.editor()), always},
		{ide.PortWeb, http.HandlerFunc(a.web), a.hasSite},
	}
	return a, nil
}

// run serves all ports until ctx ends, then lets requests under way finish, for
// 5 s at most. It fails when a port cannot be opened or a server breaks.
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
	open := func(port uint16, h http.Handler) error {
		l, err := listen(ctx, port)
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
		if err := open(s.port.Number, a.own(s.handler)); err != nil {
			return err
		}
	}
	if err := open(ide.AgentPort, a.control()); err != nil {
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
	a.ready.Store(true)
	a.log.Info("agent runs", "container", a.cfg.ID, "version", version(), "workspace", a.cfg.Workspace)

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
func (a *agent) own(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if id, _, ok := strings.Cut(strings.ToLower(r.Host), "-"); ok && ide.ValidID(id) && id != a.cfg.ID {
			http.Error(w, "This is another container.", http.StatusMisdirectedRequest)
			return
		}
		if r.URL.Path != healthPath {
			a.connections.Add(1)
			defer a.connections.Add(-1)
		}
		h.ServeHTTP(w, r)
	})
}

// touch notes that a person did something.
func (a *agent) touch(source string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.last = activity{At: a.now().UTC(), Source: source}
}

func (a *agent) lastActivity() activity {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.last
}

// same compares two secrets in a time that says nothing of either, its length
// included.
func same(a, b string) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}
