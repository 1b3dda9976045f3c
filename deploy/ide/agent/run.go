package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"berth/internal/ide"
)

const (
	drainTime   = 5 * time.Second
	idleTimeout = 120 * time.Second // longer than the gateway's, so that this side never closes first
)

// run serves all ports until ctx ends. Programs start once the workspace is
// restored and the agent was opened. At the end requests under way may finish, for 5 s at most, all
// programs are ended, and what they have left is saved; the control plane's own
// port stays open until then. It fails when a port cannot be opened or a server
// breaks.
func (a *agent) run(ctx context.Context, listen listenFunc) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	users, control, err := a.bind(ctx, listen)
	defer func() {
		for _, d := range append(users, control) {
			d.close()
		}
	}()
	if err != nil {
		return err
	}
	a.running = startable(ctx, a.programs)
	var servers, wg sync.WaitGroup
	for _, d := range append(users, control) {
		servers.Go(func() {
			if err := d.srv.Serve(d.l); !errors.Is(err, http.ErrServerClosed) {
				cancel(fmt.Errorf("serve %s: %w", d.l.Addr(), err))
			}
		})
	}
	wg.Go(func() {
		if a.keeper != nil && !a.keeper.restore(ctx) {
			return
		}
		wg.Go(func() { a.begin(ctx) })
		if a.keeper != nil {
			a.keeper.run(ctx)
		}
	})
	if a.desktop != nil {
		tick := time.NewTicker(activityEvery)
		defer tick.Stop()
		wg.Go(func() { a.watchDesktop(ctx, tick.C) })
	}
	a.ready.Store(true)
	a.log.Info("agent runs", "container", a.cfg.ID, "version", version(), "workspace", a.cfg.Workspace, "full", a.cfg.Image.full())

	<-ctx.Done()
	a.ready.Store(false)
	ending, stop := context.WithTimeout(context.WithoutCancel(ctx), a.cfg.Grace-graceMargin(a.cfg.Grace))
	defer stop()
	for _, d := range users {
		wg.Go(func() { d.shutdown(ending) })
	}
	a.endPrograms()
	wg.Wait()
	if a.keeper != nil {
		a.keeper.last(ending)
		a.keeper.close()
	}
	control.shutdown(ending)
	servers.Wait()
	a.log.Info("agent has stopped", "container", a.cfg.ID)
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// begin starts the programs as soon as the agent is open.
func (a *agent) begin(ctx context.Context) {
	select {
	case <-a.opened:
		a.running.begin()
	case <-ctx.Done():
	}
}

// graceMargin is the part of the time before SIGKILL that is left unused.
func graceMargin(grace time.Duration) time.Duration { return min(grace/5, 5*time.Second) }

// endPrograms ends all programs, and returns when none is left. From then on
// nothing can be edited.
func (a *agent) endPrograms() {
	a.ending.Store(true)
	a.running.end()
}

// gate is an open port and who answers there.
type gate struct {
	srv *http.Server
	l   net.Listener
}

func (d gate) close() {
	if d.srv != nil {
		d.srv.Close()
		d.l.Close()
	}
}

func (d gate) shutdown(ctx context.Context) {
	ctx, stop := context.WithTimeout(ctx, drainTime)
	defer stop()
	if d.srv.Shutdown(ctx) != nil {
		d.srv.Close()
	}
}

// bind opens the users' ports and the control plane's.
func (a *agent) bind(ctx context.Context, listen listenFunc) (users []gate, control gate, err error) {
	open := func(host string, port uint16, h http.Handler) (gate, error) {
		l, err := listen(ctx, host, port)
		if err != nil {
			return gate{}, fmt.Errorf("open port %d: %w", port, err)
		}
		return gate{&http.Server{
			Handler:           h,
			ReadHeaderTimeout: 10 * time.Second,
			IdleTimeout:       idleTimeout,
			ErrorLog:          slog.NewLogLogger(a.log.Handler(), slog.LevelDebug),
		}, l}, nil
	}
	for _, s := range a.services {
		hosts := []string{""}
		if s.port == ide.PortWeb && a.cfg.Image.full() { // the others are the user's server's
			hosts = outerAddresses()
		}
		for _, host := range hosts {
			d, err := open(host, s.port.Number, a.own(s))
			if err != nil {
				return users, control, err
			}
			users = append(users, d)
		}
	}
	control, err = open("", ide.AgentPort, a.control())
	return users, control, err
}

// supervised are programs that are started once and ended once.
type supervised struct {
	ctx      context.Context // of the programs, not of a call
	cancel   context.CancelFunc
	programs []*program

	mu sync.Mutex
	wg sync.WaitGroup
}

func startable(ctx context.Context, programs []*program) *supervised {
	s := &supervised{programs: programs}
	s.ctx, s.cancel = context.WithCancel(ctx)
	return s
}

// begin starts them, unless they were ended already.
func (s *supervised) begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx.Err() != nil {
		return
	}
	for _, p := range s.programs {
		s.wg.Go(func() { p.run(s.ctx) })
	}
}

// end ends them, and returns when none is left.
func (s *supervised) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cancel()
	s.wg.Wait()
}
