package worker

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"berth/internal/ide"
	"berth/internal/swarm"
)

// nodeState is what this worker knows of its node.
type nodeState struct {
	manager  atomic.Bool
	filtered atomic.Bool

	network atomic.Bool // this process has seen to the containers' network

	filter  *swarm.Filter // the loop that keeps the filter has these for itself
	applied []netip.Addr
}

// report says that the worker lives. On a manager it also publishes the free
// capacity of every node, and the addresses of containers whose task was
// replaced.
func (w *Worker) report(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	info, err := w.deps.Swarm.Info(ctx)
	if err == nil {
		w.node.manager.Store(info.Manager) // an engine that does not answer is still what it was
	}
	me := ide.Worker{ID: w.id, Node: info.NodeID, Manager: err == nil && info.Manager, Engine: err == nil && info.SwarmActive,
		Filtered: w.node.filtered.Load(), Version: w.cfg.Version, At: time.Now().UTC()}
	if rerr := w.deps.Store.Report(ctx, me); rerr != nil {
		return rerr
	}
	if err != nil {
		return fmt.Errorf("ask engine: %w", err)
	}
	if !me.Manager {
		return nil
	}
	if !w.node.network.Load() {
		if err := w.deps.Swarm.EnsureNetwork(ctx); err != nil {
			return fmt.Errorf("make network: %w", err)
		}
		w.node.network.Store(true)
	}
	if err := w.publish(ctx); err != nil {
		return err
	}
	return w.follow(ctx)
}

// publish tells admission what each node has to give.
func (w *Worker) publish(ctx context.Context) error {
	nodes, err := w.deps.Swarm.Nodes(ctx)
	if err != nil {
		return fmt.Errorf("list nodes: %w", err)
	}
	workers, err := w.deps.Store.Workers(ctx, 30*time.Second)
	if err != nil {
		return err
	}
	for i, n := range nodes {
		nodes[i].Filtered = !w.cfg.Isolation || slices.ContainsFunc(workers, func(o ide.Worker) bool { return o.Node == n.ID && o.Filtered })
		nodes[i].At = time.Now().UTC()
	}
	return w.deps.Store.PublishNodes(ctx, nodes)
}

// follow corrects the addresses of running containers whose task Swarm has
// replaced.
func (w *Worker) follow(ctx context.Context) error {
	tasks, err := w.deps.Swarm.Tasks(ctx)
	if err != nil {
		return fmt.Errorf("list tasks: %w", err)
	}
	running, err := w.deps.Store.ByStatus(ctx, ide.Running)
	if err != nil {
		return err
	}
	now := map[string]ide.Task{}
	for _, t := range tasks {
		if t.State == "running" && t.Address != "" {
			now[t.Container] = t
		}
	}
	for _, c := range running {
		t, ok := now[c.ID]
		if !ok || t.Run != c.Run || t.Address == c.Address {
			continue
		}
		_, err := w.deps.Store.Update(ctx, c.ID, func(c *ide.Container) error {
			if c.Run == t.Run && c.Status == ide.Running {
				c.Address = t.Address
			}
			return nil
		})
		if err != nil && !ide.HasCode(err, ide.ContainerNotFound) {
			return err
		}
	}
	return nil
}

// isolate keeps the filter between containers on this node: every second it
// learns the addresses of the edges, which a manager publishes, and programs
// the filter when they have changed or the filter is gone.
func (w *Worker) isolate(ctx context.Context) error {
	if !w.cfg.Isolation {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	err := w.keepFilter(ctx)
	if stands := err == nil; w.node.filtered.Swap(stands) != stands {
		err = errors.Join(err, w.report(ctx)) // admission should not wait to hear of it
	}
	return err
}

func (w *Worker) keepFilter(ctx context.Context) error {
	if w.node.manager.Load() {
		edges, err := w.deps.Swarm.Edges(ctx)
		if err != nil {
			return fmt.Errorf("list edges: %w", err)
		}
		if err := w.deps.Store.PublishEdges(ctx, edges); err != nil {
			return err
		}
	}
	edges, ok, err := w.deps.Store.Edges(ctx)
	if err != nil {
		return err
	}
	if !ok {
		return errors.New("no manager has published the edges yet")
	}
	if w.node.filter == nil {
		id, err := w.deps.Swarm.NetworkID(ctx)
		if err != nil {
			return fmt.Errorf("find network: %w", err)
		}
		w.node.filter = swarm.NewFilter(w.cfg.ExecRoot, id)
	}
	standing, err := w.node.filter.Standing()
	if err != nil {
		w.node.filter = nil // the network may have been made anew
		return fmt.Errorf("look at filter: %w", err)
	}
	if standing && slices.Equal(edges, w.node.applied) {
		return nil
	}
	if err := w.node.filter.Apply(edges); err != nil {
		return fmt.Errorf("program filter: %w", err)
	}
	w.node.applied = edges
	w.log.Info("isolation filter stands", "edges", len(edges))
	return nil
}
