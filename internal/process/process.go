// Package process is one running process of Berth: its roles, wired to each
// other, run until the end and drained.
package process

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"berth/functions"
	"berth/internal/gateway"
	"berth/internal/ide"
	"berth/internal/logs"
	"berth/internal/store"
	"berth/internal/swarm"
	"berth/internal/traces"
	"berth/openapi"
	"berth/queue"
	"berth/worker"

	"golang.org/x/sync/errgroup"
)

// Roles says what a process does.
type Roles struct{ API, Worker, Gateway bool }

// Source is whose log lines those are that no role writes.
func (r Roles) Source() string {
	switch {
	case r.API:
		return ide.SourceAPI
	case r.Gateway:
		return ide.SourceGateway
	default:
		return ide.SourceWorker
	}
}

// Config says how a process runs. Of the parts' configurations those of its
// roles are read; what one part gets from another is filled in here.
type Config struct {
	Roles       Roles
	Version     string
	Domain      string        // of the API, for the log
	Listen      string        // TCP address of API and gateway
	ReadTimeout time.Duration // for the head of a request
	NodeID      string        // engine ID of this node; empty where only the worker can tell
	Log         slog.Handler

	Redis   func(ctx context.Context, log *slog.Logger) (*queue.Redis, error)
	Store   store.Config
	Deps    functions.Deps // Box, S3, HTTP, Hooks and Settings
	OpenAPI openapi.Config
	Gateway gateway.Config
	Swarm   swarm.Config
	Guard   worker.GuardConfig
	Worker  worker.Config
	Traces  *traces.Config // nil traces nothing
}

// process is what the roles share.
type process struct {
	cfg    Config
	tap    *logs.Tap
	rds    *queue.Redis
	st     *store.Store
	spans  *traces.Provider
	guard  *worker.Guard
	worker atomic.Pointer[worker.Worker]
}

// Run runs the roles until ctx ends or one of them fails.
func Run(ctx context.Context, cfg Config) (err error) {
	p := &process{cfg: cfg, tap: logs.NewTap()}
	if cfg.Roles.Worker { // first: Redis may be where only what is exempt gets to
		unguard, err := p.keepGuard(ctx)
		if err != nil {
			return err
		}
		defer unguard()
	}
	plain := slog.New(cfg.Log)
	if p.rds, err = cfg.Redis(ctx, plain); err != nil {
		if ctx.Err() != nil { // it was told to end while it waited
			return nil
		}
		return err
	}
	if cfg.Traces != nil {
		if p.spans, err = traces.New(ctx, *cfg.Traces); err == nil {
			err = p.spans.Redis(p.rds.Client)
		}
		if err != nil {
			return errors.Join(err, p.rds.Close())
		}
	}
	p.st = store.New(p.rds.Client, cfg.Store)
	running, cancel := context.WithCancel(ctx)
	defer cancel()
	group, running := errgroup.WithContext(running)
	group.Go(func() error {
		select {
		case <-running.Done():
		case <-p.rds.Done:
			if running.Err() == nil {
				return errors.New("the Redis of this process ended")
			}
		}
		return nil
	})
	shipped := p.ship(ctx, plain)
	p.lookAtRedis(ctx)
	if err = p.start(running, group); err != nil {
		cancel()
	}
	err = errors.Join(err, group.Wait())
	p.log(cfg.Roles.Source()).Info("bye")
	shipped()
	end, stop := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer stop()
	if terr := p.spans.Close(end); terr != nil { // a collector that is away keeps nothing from ending
		plain.Warn("traces are lost", "err", terr)
	}
	return errors.Join(err, p.rds.Close())
}

// lookAtRedis tells of a Redis that drops keys when it is full: a job whose
// keys are gone in part is never done. A Redis that does not say is believed.
func (p *process) lookAtRedis(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	m, err := p.st.Memory(ctx)
	if err == nil && m.Policy != "" && m.Policy != "noeviction" {
		p.log(p.cfg.Roles.Source()).Error("redis may drop jobs and records: set its maxmemory-policy to noeviction", "policy", m.Policy)
	}
}

// log is a logger whose lines are shipped as those of a source.
func (p *process) log(source string) *slog.Logger { return p.tap.Logger(p.cfg.Log, source) }

// ship ships log lines until the returned function is called, which waits until
// those of the end are shipped, too.
func (p *process) ship(ctx context.Context, log *slog.Logger) (end func()) {
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	shipped := make(chan struct{})
	go func() {
		defer close(shipped)
		p.tap.Run(ctx, p.st, p.node, log)
	}()
	return func() { stop(); <-shipped }
}

// node is the node on which the process is: as configured, or as its worker
// learns it.
func (p *process) node() string {
	if w := p.worker.Load(); w != nil && p.cfg.NodeID == "" {
		return w.Node()
	}
	return p.cfg.NodeID
}
