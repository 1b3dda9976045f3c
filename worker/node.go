package worker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"berth/functions"
	"berth/internal/ide"
	"berth/internal/swarm"
)

// nodeState is what this worker knows of its node.
type nodeState struct {
	manager  atomic.Bool
	silent   atomic.Int64 // reports in a row for which the engine did not answer
	filtered atomic.Bool
	refused  atomic.Bool            // what was last reported of egress
	id       atomic.Pointer[string] // engine ID of the node, once it is known
	engine   atomic.Pointer[swarm.Info]
	gives    atomic.Pointer[string] // address where it gives images to other nodes, while it does

	lost    map[string]bool // nodes that are down, and that a comparison was asked for; of the loop that reports
	network atomic.Bool     // this process has seen to the containers' network
	joined  atomic.Int64    // when it last told what lets machines join, in Unix seconds
	asked   atomic.Bool     // the images that registries may have were asked for
}

// Node is the engine ID of the worker's node; empty while it is not known.
func (w *Worker) Node() string {
	if id := w.node.id.Load(); id != nil {
		return *id
	}
	return ""
}

// report says that the worker lives. On a manager it also publishes the free
// capacity of every node, and the addresses of containers whose task was
// replaced.
func (w *Worker) report(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	info, err := w.deps.Swarm.Info(ctx)
	if err == nil {
		w.node.silent.Store(0)
		w.node.engine.Store(&info)
		w.node.id.Store(&info.NodeID)
		w.node.manager.Store(info.Manager) // an engine that does not answer is still what it was
	}
	if err != nil && ctx.Err() == nil || errors.Is(err, context.DeadlineExceeded) {
		w.node.silent.Add(1)
	}
	me := ide.Worker{ID: w.id, Node: info.NodeID, Manager: err == nil && info.Manager, Engine: err == nil && info.SwarmActive,
		Filtered: w.node.filtered.Load(), Egress: w.cfg.Guard.Refuses(), Version: w.cfg.Version, At: w.deps.Store.Time(ctx)}
	if err == nil {
		me.Missing, err = w.missing(ctx)
	}
	if at := w.node.gives.Load(); at != nil {
		me.Address = *at
	}
	if rerr := w.deps.Store.Report(ctx, me); rerr != nil {
		return rerr
	}
	if err != nil {
		return fmt.Errorf("ask engine: %w", err)
	}
	if len(me.Missing) > 0 && info.NodeID != "" && !w.node.asked.Swap(true) {
		if err := functions.AskImages(ctx, w.deps, info.NodeID); err != nil {
			w.node.asked.Store(false)
			return err
		}
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
	if err := w.rebuild(ctx); err != nil {
		return err
	}
	if err := w.publish(ctx); err != nil {
		return err
	}
	if err := w.tellJoin(ctx); err != nil {
		return err
	}
	return w.follow(ctx)
}

// missing lists the images of templates that this node does not have: the
// first start of each has to wait until it is pulled, or fails.
func (w *Worker) missing(ctx context.Context) ([]string, error) {
	var list []string
	for _, t := range w.deps.Settings.Templates {
		here, err := w.deps.Swarm.HasImage(ctx, t.Image)
		if err != nil {
			return nil, err
		}
		if !here && !slices.Contains(list, t.Image) {
			list = append(list, t.Image)
		}
	}
	return list, nil
}

// rebuild brings the records back where Redis has lost them. Capacity is
// published only afterwards: until then nothing is admitted that the lost
// records might contradict.
func (w *Worker) rebuild(ctx context.Context) error {
	rebuilt, err := w.deps.Store.Rebuilt(ctx)
	if err != nil || rebuilt {
		return err
	}
	began := time.Now()
	back, err := functions.Rebuild(ctx, w.deps, false)
	if err != nil {
		return fmt.Errorf("rebuild records: %w", err)
	}
	w.log.Info("records are rebuilt from swarm", "containers", len(back), "took", time.Since(began).Round(time.Millisecond))
	return nil
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
		nodes[i].Filtered = slices.ContainsFunc(workers, func(o ide.Worker) bool {
			return o.Node == n.ID && (o.Filtered || !w.cfg.Guard.cfg.Isolation) && (o.Egress || !w.cfg.Guard.cfg.Egress)
		}) || !w.cfg.Guard.cfg.Isolation && !w.cfg.Guard.cfg.Egress
		nodes[i].At = w.deps.Store.Time(ctx)
	}
	before, err := w.deps.Store.Nodes(ctx)
	if err != nil {
		return err
	}
	unprepared := w.prepare(ctx, nodes, before, workers)
	if err := w.deps.Store.PublishNodes(ctx, nodes); err != nil {
		return err
	}
	return errors.Join(unprepared, w.tellOfLost(ctx, before, nodes), functions.FadeOut(ctx, w.deps, nodes))
}

// joinTold is how often it is told what lets machines join.
const joinTold = 20 * time.Second

// tellJoin tells the API, which has no engine, what lets machines join the Swarm:
// sealed, and forgotten after a minute.
func (w *Worker) tellJoin(ctx context.Context) error {
	now := time.Now()
	if now.Sub(time.Unix(w.node.joined.Load(), 0)) < joinTold {
		return nil
	}
	if err := functions.TellJoin(ctx, w.deps); err != nil {
		return fmt.Errorf("tell join tokens: %w", err)
	}
	w.node.joined.Store(now.Unix())
	return nil
}

// tellOfLost asks for a comparison as soon as a node is seen down or gone for the
// second time, which is when its containers are lost.
func (w *Worker) tellOfLost(ctx context.Context, before, now []ide.Node) error {
	ask := false
	for _, n := range slices.Concat(before, now) {
		switch was, is := ide.FateOf(before, n.ID), ide.FateOf(now, n.ID); {
		case is == ide.NodeUp:
			delete(w.node.lost, n.ID)
		case is == ide.NodeGone: // now it is forgotten, and the comparison asks Swarm itself
			delete(w.node.lost, n.ID)
			ask = true
		case was == ide.NodeIsDown && !w.node.lost[n.ID]:
			w.node.lost[n.ID], ask = true, true
		}
	}
	if !ask {
		return nil
	}
	return functions.AskReconcile(ctx, w.deps)
}

// follow corrects the addresses of running containers whose task Swarm has
// replaced, and tells of it.
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
		const message = "Everything in it had ended, and Swarm has started it again. The files of its volume are there; what an editor held in memory is gone."
		err := w.deps.Store.Note(ctx, c.ID, "container.restarted", message, func(c *ide.Container) bool {
			again := c.Run == t.Run && c.Status == ide.Running && c.Address != t.Address
			if again {
				c.Address = t.Address
			}
			return again
		})
		if err != nil && !ide.HasCode(err, ide.ContainerNotFound) {
			return err
		}
		// an agent that was started anew has no minted credentials
		c.Address = t.Address
		if err := functions.RenewCredentials(ctx, w.deps, c); err != nil {
			w.log.Warn("credentials are not renewed", "container", c.ID, "err", err)
		}
	}
	return nil
}

// countAddresses publishes how many addresses the containers' network has left.
func (w *Worker) countAddresses(ctx context.Context) error {
	if !w.node.manager.Load() || !w.node.network.Load() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	a, err := w.deps.Swarm.Addresses(ctx)
	if err != nil {
		return err
	}
	return w.deps.Store.PublishAddresses(ctx, a)
}

// dropVolumes removes from this node the volumes that stops have released.
func (w *Worker) dropVolumes(ctx context.Context) error {
	node := w.Node()
	if node == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	return functions.DropVolumes(ctx, w.deps, node)
}

// sweepVolumes looks for volumes of this node that nothing needs.
func (w *Worker) sweepVolumes() func(context.Context) error {
	strays := functions.Strays{}
	return func(ctx context.Context) error {
		node := w.Node()
		if node == "" {
			return nil
		}
		ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
		defer cancel()
		return functions.SweepVolumes(ctx, w.deps, node, strays)
	}
}

// isolate keeps the filter between containers on this node: every second it
// learns the addresses of the edges, which a manager publishes, and programs
// the filter when they have changed or the filter is gone.
func (w *Worker) isolate(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	var err error
	stands, refuses := false, w.cfg.Guard.Refuses()
	if w.cfg.Guard.cfg.Isolation {
		err = w.keepFilter(ctx)
		// Edges that cannot be learned leave the filter that stands: it lets through
		// too few at worst.
		stands = err == nil || w.cfg.Guard.Isolated(ctx)
	}
	filtered, refused := w.node.filtered.Swap(stands), w.node.refused.Swap(refuses)
	if filtered != stands || refused != refuses {
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
	return w.cfg.Guard.Isolate(ctx, edges)
}
