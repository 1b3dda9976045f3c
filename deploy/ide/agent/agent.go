package main

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"log/slog"
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
	keeper   *keeper  // nil where the workspace is kept nowhere

	ready  atomic.Bool // every port is open
	whole  atomic.Bool // and every program that is needed has been up
	ending atomic.Bool // programs are being ended: nothing may be edited any more

	running *supervised   // the programs; of run
	opened  chan struct{} // closed when programs may begin and users be let in
	open    func()        // closes it, once

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
	a.opened = make(chan struct{})
	a.open = sync.OnceFunc(func() { close(a.opened) })
	if !cfg.Guarded {
		a.open()
	}
	if a.keeper, err = newKeeper(cfg, log); err != nil {
		root.Close()
		return nil, err
	}
	if cfg.SaveOnly {
		return a, nil
	}
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

// isOpen says whether this container's node is known to be filtered. Before, a
// neighbour could knock here, and what runs here could knock there: a node that
// has lost its power starts containers and the worker that filters them at the
// same time.
func (a *agent) isOpen() bool {
	select {
	case <-a.opened:
		return true
	default:
		return false
	}
}

// shut is what is said meanwhile.
const shut = "The isolation of this node is being set up."

// closed says in words why nothing may be edited now, or nothing.
func (a *agent) closed() string {
	switch {
	case !a.isOpen():
		return shut
	case a.keeper == nil:
		return ""
	case a.ending.Load():
		return "The workspace is being saved, and this container is stopping."
	case !a.keeper.now().Restored:
		return "The workspace is being restored."
	}
	return ""
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
		if why := a.closed(); why != "" && r.URL.Path != healthPath {
			w.Header().Set("Retry-After", "2")
			http.Error(w, why, http.StatusServiceUnavailable)
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
