package process

import (
	"context"
	"fmt"
	"net"
	"net/http"

	"berth/functions"
	"berth/internal/gateway"
	"berth/internal/ide"
	"berth/internal/swarm"
	"berth/openapi"
	"berth/queue"
	"berth/worker"

	"golang.org/x/sync/errgroup"
)

// start starts the roles in the group.
func (p *process) start(ctx context.Context, group *errgroup.Group) error {
	deps := p.cfg.Deps
	deps.Store, deps.Queue, deps.Log, deps.Traces = p.st, queue.New(p.rds.Client), p.log(ide.SourceAPI), p.spans.Tracers()
	var api http.Handler
	var gw *gateway.Gateway
	if p.cfg.Roles.API {
		api = p.startAPI(ctx, group, &deps)
	}
	if p.cfg.Roles.Gateway {
		gw = p.startGateway(ctx, group)
	}
	if api != nil || gw != nil {
		l, err := net.Listen("tcp", p.cfg.Listen)
		if err != nil {
			return fmt.Errorf("listen: %w", err)
		}
		p.log(p.cfg.Roles.Source()).Info("berth listens", "address", l.Addr().String(), "domain", p.cfg.Domain, "redis", p.rds.Durability)
		handler := front(gw, api, p.st)
		group.Go(func() error { return Serve(ctx, l, handler, p.cfg.ReadTimeout) })
	}
	if p.cfg.Roles.Worker {
		return p.startWorker(ctx, group, deps)
	}
	return nil
}

func (p *process) startAPI(ctx context.Context, group *errgroup.Group, deps *functions.Deps) http.Handler {
	group.Go(func() error { return p.st.Follow(ctx, deps.Log) })
	group.Go(func() error { return p.st.FollowLogs(ctx, deps.Log) })
	cfg := p.cfg.OpenAPI
	cfg.Version, cfg.Durability, cfg.ReadTimeout, cfg.Draining = p.cfg.Version, p.rds.Durability, p.cfg.ReadTimeout, ctx.Done()
	return p.spans.Handler(openapi.New(deps, cfg))
}

func (p *process) startGateway(ctx context.Context, group *errgroup.Group) *gateway.Gateway {
	cfg := p.cfg.Gateway
	cfg.Routes, cfg.Changes, cfg.Report, cfg.Log = p.st.Routes, p.st.Changes, p.st.ReportActivity, p.log(ide.SourceGateway)
	gw := gateway.New(cfg)
	group.Go(func() error { return gw.Run(ctx) })
	return gw
}

func (p *process) startWorker(ctx context.Context, group *errgroup.Group, deps functions.Deps) error {
	engine := p.cfg.Swarm
	engine.Traces = p.spans.Tracers()
	client, err := swarm.New(engine)
	if err != nil {
		return err
	}
	deps.Swarm, deps.Log = client, p.log(ide.SourceWorker)
	cfg := p.cfg.Worker
	cfg.Version, cfg.Guard = p.cfg.Version, p.guard
	w := worker.New(p.rds.Client, &deps, cfg)
	p.worker.Store(w)
	group.Go(func() error { defer client.Close(); return w.Run(ctx) })
	return nil
}

// keepGuard begins to keep this node's protections, until stop is called: also
// while running jobs end.
func (p *process) keepGuard(ctx context.Context) (stop func(), err error) {
	client, err := swarm.New(p.cfg.Swarm)
	if err != nil {
		return nil, err
	}
	p.guard = worker.NewGuard(client, p.cfg.Guard, p.log(ide.SourceWorker))
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.guard.Run(ctx)
	}()
	return func() { cancel(); <-done; client.Close() }, nil
}
