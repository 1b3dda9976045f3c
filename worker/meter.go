package worker

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"berth/internal/ide"
	"berth/internal/store"
	"berth/internal/swarm"

	"golang.org/x/sync/errgroup"
)

// Of measuring.
const (
	measureEvery = 10 * time.Second // the first step of histories
	pinnedAt     = 95.0             // percent of its CPU limit, as the mean of a minute or of a step, at which a container is at it
	relief       = time.Minute      // a node is short of what was above its mark within so long
	busiest      = 20               // of a node's containers are named in its report
	readers      = 256              // readings of containers at once: Engine 20.10 answers each at its next tick, of which it has one a second
)

// meter measures this node and its containers. All of it runs in one loop.
type meter struct {
	w       *Worker
	machine machine
	node    *history                // of this node; nil before its ID is known
	high    map[string]time.Time    // resource -> when it was last above its mark
	last    ide.NodeUse             // what was reported
	all     map[string]*measurement // by engine ID of the container
	was     map[string]ide.ContainerUse
}

// measurement is what is known of a container that runs.
type measurement struct {
	container string
	run       int
	cpu       float64 // its limits, in cores and bytes
	memory    int64
	last      swarm.Stats
	use       ide.ContainerUse
	past      *history
}

func newMeter(w *Worker) *meter {
	return &meter{w: w, machine: machine{proc: w.cfg.HostProc, reads: int(ide.CPUOver / measureEvery)}, high: map[string]time.Time{}, all: map[string]*measurement{}}
}

// Measure reads everything once and reports it. An engine that does not answer
// costs what it knows, and no more.
func (m *meter) Measure(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, measureEvery)
	defer cancel()
	id := m.w.Node()
	if id == "" {
		return nil
	}
	if m.node == nil || m.node.id != id {
		if err := m.recall(ctx, id); err != nil {
			return err
		}
	}
	info := m.w.node.engine.Load()
	u, err := m.machine.read(ctx, info.DataRoot)
	if err != nil {
		return err
	}
	u.Storage, u.At = info.Storage, m.w.deps.Store.Shared(ctx, u.At)
	past, failed := m.containers(ctx, &u)
	if err := m.report(ctx, id, info.Hostname, u, past); err != nil {
		return err
	}
	return failed
}

// recall reads what this node's last worker has reported: what has lasted for
// long goes on.
func (m *meter) recall(ctx context.Context, id string) error {
	last, ok, err := m.w.deps.Store.Use(ctx, id)
	if err != nil {
		return err
	}
	if m.was, err = m.w.deps.Store.NodeContainers(ctx, id); err != nil {
		return err
	}
	m.node = newHistory(id)
	if ok && m.w.deps.Store.Time(ctx).Sub(last.At) < relief {
		m.last = ide.NodeUse{Above: last.Above}
		for _, r := range last.Pressure {
			m.high[r] = last.At
		}
	}
	return nil
}

// report compares a use with the marks and writes it, with all that goes into
// histories.
func (m *meter) report(ctx context.Context, id, hostname string, u ide.NodeUse, containers []store.Past) error {
	st := m.w.deps.Store
	used := 0.0
	if u.Cores > 0 {
		used = u.CPU / u.Cores * 100
	}
	u.Above = m.w.cfg.HighWater.Above(u, m.machine.recently(used), m.last.Above)
	u.Pressure = m.pressure(u)
	node := ide.Node{ID: id, Hostname: hostname}
	if !slices.Equal(u.Pressure, m.last.Pressure) { // it is told of, so Swarm's view of it is needed
		nodes, err := st.Nodes(ctx)
		if err != nil {
			return err
		}
		if i := slices.IndexFunc(nodes, func(n ide.Node) bool { return n.ID == id }); i >= 0 {
			node = nodes[i]
		}
	}
	if err := st.ReportUse(ctx, node, u); err != nil {
		return err
	}
	m.last = u
	uses := map[string]ide.ContainerUse{}
	for _, c := range m.all {
		if !c.use.At.IsZero() {
			uses[c.container] = c.use
		}
	}
	if err := st.ReportContainers(ctx, id, uses); err != nil {
		return err
	}
	x := ide.Sample{At: u.At, CPU: used, Load: u.Load[0], NetIn: u.NetIn, NetOut: u.NetOut}
	if u.MemoryTotal > 0 {
		x.Memory = float64(u.Memory) / float64(u.MemoryTotal) * 100
	}
	if u.DiskTotal > 0 {
		x.Disk = float64(u.Disk) / float64(u.DiskTotal) * 100
	}
	if u.Stall != nil {
		x.Stall = *u.Stall
	}
	past, _ := m.node.add(x)
	if err := st.KeepPast(ctx, past, containers); err != nil {
		return err
	}
	m.kept(containers)
	return nil
}

// kept notes whose histories are there now.
func (m *meter) kept(containers []store.Past) {
	m.node.known = true
	written := map[string]bool{}
	for _, x := range containers {
		written[x.ID] = true
	}
	for _, c := range m.all {
		c.past.known = c.past.known || written[c.container]
	}
}

// pressure is what was above its mark within the last minute, so that what
// swings about its mark is told of once.
func (m *meter) pressure(u ide.NodeUse) []string {
	for _, a := range u.Above {
		m.high[a.Resource] = u.At
	}
	var names []string
	for r, at := range m.high {
		if u.At.Sub(at) < relief {
			names = append(names, r)
		} else {
			delete(m.high, r)
		}
	}
	slices.Sort(names)
	return names
}

// containers measures the containers of this node that run, and adds to u what
// is told of them with the node.
func (m *meter) containers(ctx context.Context, u *ide.NodeUse) ([]store.Past, error) {
	list, err := m.w.deps.Swarm.LocalContainers(ctx)
	if err != nil {
		return nil, fmt.Errorf("list containers: %w", err)
	}
	there, runs := map[string]bool{}, map[string]int{}
	for _, l := range list {
		runs[fmt.Sprint(l.Container, l.Run)]++
		there[l.EngineID] = !l.Ended
	}
	for id := range m.all {
		if !there[id] {
			delete(m.all, id)
		}
	}
	var failed error
	var group errgroup.Group
	group.SetLimit(readers)
	parts := make([][]store.Past, len(list))
	note := func(err error) error {
		if ide.HasCode(err, ide.ContainerNotFound) { // it was removed a moment ago
			return nil
		}
		return err
	}
	for i, l := range list {
		if l.Ended {
			continue
		}
		c, err := m.find(ctx, l, u.Cores)
		if err != nil {
			failed = cmp.Or(note(err), failed)
			continue
		}
		group.Go(func() (err error) {
			parts[i], err = m.one(ctx, l.EngineID, c, runs[fmt.Sprint(l.Container, l.Run)]-1)
			return note(err)
		})
	}
	failed = cmp.Or(group.Wait(), failed)
	u.Containers = len(m.all)
	for _, c := range m.all {
		u.Busiest = append(u.Busiest, ide.Busy{Container: c.container, Cores: c.use.Cores, Memory: c.use.Memory})
	}
	slices.SortFunc(u.Busiest, func(a, b ide.Busy) int {
		switch {
		case a.Cores > b.Cores:
			return -1
		case a.Cores < b.Cores:
			return 1
		}
		return 0
	})
	u.Busiest = u.Busiest[:min(busiest, len(u.Busiest))]
	return slices.Concat(parts...), failed
}

// find returns what is known of a container, and asks for its limits the first
// time.
func (m *meter) find(ctx context.Context, l swarm.LocalContainer, cores float64) (*measurement, error) {
	if c := m.all[l.EngineID]; c != nil {
		return c, nil
	}
	cpu, memory, err := m.w.deps.Swarm.Limits(ctx, l.EngineID)
	if err != nil {
		return nil, err
	}
	c := &measurement{container: l.Container, run: l.Run, cpu: cores, memory: memory, past: newHistory(l.Container)}
	if cpu > 0 {
		c.cpu = float64(cpu) / 1e9
	}
	if was, ok := m.was[l.Container]; ok && was.Run == l.Run && m.w.deps.Store.Time(ctx).Sub(was.At) < 2*relief {
		c.use.Pinned, c.use.Told, c.past.known = was.Pinned, was.Told, true
	}
	delete(m.was, l.Container)
	m.all[l.EngineID] = c
	return c, nil
}

// one measures a container. Its first reading has nothing to be compared with.
func (m *meter) one(ctx context.Context, engineID string, c *measurement, restarts int) ([]store.Past, error) {
	s, err := m.w.deps.Swarm.Stats(ctx, engineID)
	if err != nil {
		return nil, err
	}
	last := c.last
	c.last = s
	span := s.At.Sub(last.At).Seconds()
	if last.At.IsZero() || s.At.IsZero() || span <= 0 || s.CPU < last.CPU {
		return nil, nil
	}
	rate := func(now, before int64) float64 { return max(float64(now-before)/span, 0) }
	u := &c.use
	u.At, u.Run, u.Restarts, u.PIDs, u.Memory = m.w.deps.Store.Shared(ctx, s.At.UTC()), c.run, restarts, s.PIDs, s.Memory
	u.Cores = (s.CPU - last.CPU).Seconds() / span
	if u.CPU = 0; c.cpu > 0 {
		u.CPU = u.Cores / c.cpu * 100
	}
	if u.Percent = 0; c.memory > 0 {
		u.Percent = float64(s.Memory) / float64(c.memory) * 100
	}
	u.NetIn, u.NetOut = rate(s.NetIn, last.NetIn), rate(s.NetOut, last.NetOut)
	u.BlockRead, u.BlockWrite = rate(s.BlockRead, last.BlockRead), rate(s.BlockWrite, last.BlockWrite)
	sample := ide.Sample{At: u.At, CPU: u.CPU, Memory: u.Percent, NetIn: u.NetIn, NetOut: u.NetOut, Block: u.BlockRead + u.BlockWrite}
	past, minute := c.past.add(sample)
	switch {
	case m.pinStep() == measureEvery:
		sample.At = m.w.deps.Store.Shared(ctx, last.At.UTC()) // when it began
		return past, m.pinned(ctx, c, sample)
	case minute != nil:
		return past, m.pinned(ctx, c, *minute)
	}
	return past, nil
}

// pinStep is what the time at the CPU limit is counted in: minutes, in which a
// short break is none, or samples where a minute would be too long.
func (m *meter) pinStep() time.Duration {
	if m.w.cfg.PinnedAfter < time.Minute {
		return measureEvery
	}
	return time.Minute
}

// pinned notes since when a container is at its CPU limit, step by step, and tells
// of it once, when that is long.
func (m *meter) pinned(ctx context.Context, c *measurement, step ide.Sample) error {
	u := &c.use
	if step.CPU < pinnedAt {
		u.Pinned, u.Told = nil, false
		return nil
	}
	if u.Pinned == nil {
		u.Pinned = &step.At
	}
	after := m.w.cfg.PinnedAfter
	if u.Told || after == 0 || step.At.Add(m.pinStep()).Sub(*u.Pinned) < after {
		return nil
	}
	message := fmt.Sprintf("Its CPU has been at its limit (%.3g cores) since %s without a break.", c.cpu, u.Pinned.Format(time.RFC3339))
	err := m.w.deps.Store.Note(ctx, c.container, "container.pinned", message, func(rec *ide.Container) bool { return rec.Run == c.run && rec.Status.Live() })
	if err != nil && !ide.HasCode(err, ide.ContainerNotFound) {
		return err
	}
	u.Told = true
	return nil
}
