package swarmtest

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"time"

	"berth/internal/ide"
	"berth/internal/swarm"

	engine "github.com/docker/docker/api/types/swarm"
	"github.com/docker/docker/client"
)

func (b *bench) life() {
	rec := b.container(b.env.Image)
	b.start(rec)
	var said []string
	task, err := b.c.WaitRunning(b.ctx, rec, func(s string) { said = append(said, s) })
	b.must(err)
	if task.Container != rec.ID || task.Run != 1 || task.Node != b.env.Node || task.Address == "" || task.State != "running" || task.Desired != "running" {
		b.Errorf("task is not as wanted: %+v", task)
	}
	tasks, err := b.c.Tasks(b.ctx)
	b.must(err)
	if len(tasks) != 1 || tasks[0].ID != task.ID || tasks[0].Address != task.Address {
		b.Errorf("tasks: %+v, want the one of %+v", tasks, task)
	}
	services, err := b.c.Services(b.ctx)
	b.must(err)
	if len(services) != 1 || services[0].Container != rec.ID || !strings.HasPrefix(services[0].Image, b.env.Image) {
		b.Errorf("services: %+v", services)
	}
	if edges, err := b.c.Edges(b.ctx); err != nil || slices.ContainsFunc(edges, func(a netip.Addr) bool { return a.String() == task.Address }) {
		b.Errorf("edges: %v, %v: a container is not one", edges, err)
	}

	local := b.local(rec)
	if len(local) != 1 {
		b.Fatalf("containers on this node: %+v, want one", local)
	}
	b.want("removal of a container that runs", b.c.RemoveEnded(b.ctx, local[0].EngineID), ide.Conflict, false)

	begun := time.Now()
	b.must(b.c.RemoveService(b.ctx, rec.ID, 1))
	if tasks, err := b.c.Tasks(b.ctx); err != nil || len(tasks) != 1 {
		b.Errorf("right after the removal: tasks %+v, %v: want the one that is still going down", tasks, err)
	}
	b.must(b.c.WaitGone(b.ctx, rec.ID, 1))
	for range 2 { // also one that is gone
		b.must(b.c.RemoveEnded(b.ctx, local[0].EngineID))
	}
	if left := b.local(rec); len(left) != 0 {
		b.Errorf("after the removal: %+v", left)
	}
	b.Logf("states seen on the way up: %q; gone after %v", said, time.Since(begun).Round(time.Millisecond))
}

// local are the containers of a record on this node.
func (b *bench) local(rec ide.Container) []swarm.LocalContainer {
	list, err := b.c.LocalContainers(b.ctx)
	b.must(err)
	return slices.DeleteFunc(list, func(l swarm.LocalContainer) bool { return l.Container != rec.ID })
}

func (b *bench) missingImage() {
	rec := b.container(b.env.Missing)
	b.start(rec)
	_, err := b.c.WaitRunning(b.ctx, rec, nil)
	b.want("wait", err, ide.ContainerStartFailed, true)
	if m := ide.AsError(err).Message; !strings.Contains(m, b.env.Missing) || !strings.Contains(m, "cannot be pulled") {
		b.Errorf("message is %q", m)
	}
}

func (b *bench) exits() {
	rec := b.container(b.env.Exiting)
	b.start(rec)
	_, err := b.c.WaitRunning(b.ctx, rec, nil)
	b.want("wait", err, ide.ContainerStartFailed, true)
	if m := ide.AsError(err).Message; !strings.Contains(m, "code 3") {
		b.Errorf("message is %q", m)
	}
	var seen swarm.Sight
	b.until("the view has the task that failed", func() bool {
		v, err := b.c.View(b.ctx)
		b.must(err)
		if len(v.Services) != 1 || v.Services[0].Parked || len(v.Secrets) != 1 || v.Secrets[0].Container != rec.ID || v.Nodes[b.env.Node].State != "ready" {
			b.Fatalf("view is not as wanted: %+v", v)
		}
		i := slices.IndexFunc(v.Tasks[rec.ID], func(s swarm.Sight) bool { return s.Ended })
		if i >= 0 {
			seen = v.Tasks[rec.ID][i]
		}
		return i >= 0
	})
	if seen.State != "failed" || seen.Trouble == nil || !strings.Contains(seen.Trouble.Message, "code 3") || seen.ExitCode != 3 || seen.Memory {
		b.Errorf("the task is seen as %+v, %v", seen, seen.Trouble)
	}
	lines, err := b.c.LastLines(b.ctx, seen.ID, 1)
	if err != nil || len(lines) != 1 || lines[0] != "ends with code 3" {
		b.Errorf("its last line: %q, %v", lines, err)
	}
}

func (b *bench) foreign() {
	d, err := client.NewClientWithOpts(client.WithHost(b.env.Config.Host), client.WithAPIVersionNegotiation())
	b.must(err)
	defer d.Close()
	node := func() ide.Node {
		nodes, err := b.c.Nodes(b.ctx)
		b.must(err)
		return nodes[slices.IndexFunc(nodes, func(n ide.Node) bool { return n.ID == b.env.Node })]
	}
	const cpu, memory = 3e7, 5 << 20
	made, err := d.ServiceCreate(b.ctx, engine.ServiceSpec{
		Annotations: engine.Annotations{Name: "edge-" + ide.NewID(), Labels: map[string]string{swarm.LabelEdge: "true"}},
		TaskTemplate: engine.TaskSpec{
			ContainerSpec: &engine.ContainerSpec{Image: b.env.Image},
			Resources:     &engine.ResourceRequirements{Reservations: &engine.Resources{NanoCPUs: cpu, MemoryBytes: memory}},
			Placement:     &engine.Placement{Constraints: []string{"node.id==" + b.env.Node}},
			Networks:      []engine.NetworkAttachmentConfig{{Target: b.env.Config.Network}},
		},
		EndpointSpec: &engine.EndpointSpec{Mode: engine.ResolutionModeDNSRR},
	}, engine.ServiceCreateOptions{})
	b.must(err)
	b.Cleanup(func() {
		if err := d.ServiceRemove(context.WithoutCancel(b.ctx), made.ID); err != nil {
			b.Error(err)
		}
	})

	rec := b.container(b.env.Image)
	b.start(rec)
	task, err := b.c.WaitRunning(b.ctx, rec, nil)
	b.must(err)
	var edges []netip.Addr
	b.until("the edge has an address", func() bool {
		edges, err = b.c.Edges(b.ctx)
		return err == nil && len(edges) > 0
	})
	if slices.ContainsFunc(edges, func(a netip.Addr) bool { return a.String() == task.Address }) {
		b.Errorf("the container %s is among the edges %v", task.Address, edges)
	}
	b.until("the node shows the foreign reservation", func() bool {
		n := node()
		return n.ForeignCPU >= cpu && n.ForeignMemory >= memory
	})
}

func (b *bench) events() {
	ctx, cancel := context.WithCancel(b.ctx)
	events, errs := b.c.Events(ctx)
	rec := b.container(b.env.Image)
	b.start(rec)
	_, err := b.c.WaitRunning(b.ctx, rec, nil)
	b.must(err)
	b.must(b.c.RemoveService(b.ctx, rec.ID, 1))
	missing := map[string]bool{"service create": true, "container start": true, "service remove": true, "container die": true}
	for len(missing) > 0 {
		select {
		case e := <-events:
			if e.Container == rec.ID {
				delete(missing, e.Type+" "+e.Action)
				if e.Type == "container" && e.Run != 1 {
					b.Errorf("run is %d in %+v", e.Run, e)
				}
			}
		case err := <-errs:
			b.Fatalf("events ended: %v; missing %v", err, missing)
		case <-ctx.Done():
			b.Fatalf("these events did not come: %v", missing)
		}
	}
	cancel()
	for range events {
	}
	if err, ok := <-errs; ok {
		b.Errorf("an end that was asked for is an error: %v", err)
	}
}

func (b *bench) until(what string, ok func() bool) {
	b.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-b.ctx.Done():
			b.Fatalf("did not happen in time: %s", what)
		}
	}
}
