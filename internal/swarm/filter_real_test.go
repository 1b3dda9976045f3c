package swarm_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"berth/internal/ide"
	"berth/internal/swarm"
	"berth/internal/swarm/swarmtest"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	engine "github.com/docker/docker/api/types/swarm"
	"github.com/docker/docker/client"
)

// TestFilterIsolates proves the filter on a real engine, on a network of its
// own: two containers (on two nodes, where the lab has more than one) and an
// edge.
func TestFilterIsolates(t *testing.T) {
	t.Parallel()
	l, engines := realLab(t)
	_, env := realClient(t, l)
	ctx, cancel := context.WithTimeout(t.Context(), env.Timeout)
	t.Cleanup(cancel)
	env.Config.Network = env.Config.Instance
	env.Config.Subnet = fmt.Sprintf("10.%d.%d.0/24", 80+rand.N(100), rand.N(250))
	c, err := swarm.New(env.Config)
	must(t, err)
	t.Cleanup(func() { c.Close() })
	must(t, c.EnsureNetwork(ctx))
	t.Cleanup(func() { removeNetwork(t, engines[0], env.Config.Network) })

	nodes := make([]string, len(engines)) // engine IDs, in the lab's order
	for i, d := range engines {
		info, err := d.Info(ctx)
		must(t, err)
		nodes[i] = info.Swarm.NodeID
	}
	edge := startEdge(t, ctx, engines[0], env, nodes[0])
	var tasks []ide.Task
	for _, node := range []string{nodes[0], nodes[len(nodes)-1]} {
		rec := ide.Container{ID: ide.NewID(), Run: 1, Owner: "test", Status: ide.Starting, Image: env.Image, Node: node,
			Resources: ide.Resources{MemoryLimit: 64 << 20, PIDs: 100}}
		secret, err := c.PutSecret(ctx, rec.ID, 1, []byte("{}"))
		must(t, err)
		must(t, c.CreateService(ctx, rec, secret))
		t.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			must(t, errors.Join(c.RemoveService(ctx, rec.ID, 1), c.WaitGone(ctx, rec.ID, 1), c.RemoveSecret(ctx, rec.ID, 1)))
		})
		task, err := c.WaitRunning(ctx, rec, nil)
		must(t, err)
		tasks = append(tasks, task)
	}
	id, err := c.NetworkID(ctx)
	must(t, err)
	var installed []*swarm.Filter
	for i, n := range l.Nodes {
		if i == 0 || nodes[i] == tasks[1].Node {
			installed = append(installed, swarm.NewFilter(n.ExecRoot, id))
		}
	}

	one, two := place{engines[0], "berth.id=" + tasks[0].Container}, place{engines[slices.Index(nodes, tasks[1].Node)], "berth.id=" + tasks[1].Container}
	edges := place{engines[0], "test.edge=" + env.Config.Instance}
	at := func(address string) string { return address + ":9000" }
	check := func(when string, isolated bool) {
		t.Helper()
		for what, got := range map[string]bool{
			"container 1 reaches container 2": one.run(t, ctx, "dial", at(tasks[1].Address)),
			"container 2 reaches container 1": two.run(t, ctx, "dial", at(tasks[0].Address)),
			"container 1 reaches the edge":    one.run(t, ctx, "dial", at(edge)),
			"container 2 reaches the edge":    two.run(t, ctx, "dial", at(edge)),
		} {
			if got == isolated {
				t.Errorf("%s: %s: %t", when, what, got)
			}
		}
		for i, task := range tasks {
			if !edges.run(t, ctx, "dial", at(task.Address)) {
				t.Errorf("%s: the edge does not reach container %d", when, i+1)
			}
		}
	}
	apply := func() {
		t.Helper()
		for _, f := range installed {
			must(t, f.Apply([]netip.Addr{netip.MustParseAddr(edge)}))
			if ok, err := f.Standing(); !ok || err != nil {
				t.Fatalf("standing: %t, %v", ok, err)
			}
		}
	}
	check("without a filter", false)
	apply()
	check("with the filter", true)

	// Replacing it leaves no gap.
	flood := make(chan bool)
	go func() { flood <- one.run(t, ctx, "flood", at(tasks[1].Address)) }()
	for n, over := 0, false; !over; n++ {
		apply()
		select {
		case through := <-flood:
			over = true
			if through {
				t.Error("a connection got through while the filter was replaced")
			}
			t.Logf("replaced %d times under a flood", n)
		default:
		}
	}
	for _, f := range installed {
		must(t, f.Remove())
	}
	check("with the filter taken away", false)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// place is a container on an engine, found by a label.
type place struct {
	engine *client.Client
	label  string
}

// run runs the agent's command in the container and says whether it ended
// with 0.
func (p place) run(t *testing.T, ctx context.Context, args ...string) bool {
	list, err := p.engine.ContainerList(ctx, container.ListOptions{Filters: filters.NewArgs(filters.Arg("label", p.label))})
	if err != nil || len(list) != 1 {
		t.Errorf("containers with %s: %d, %v", p.label, len(list), err)
		return false
	}
	exec, err := p.engine.ContainerExecCreate(ctx, list[0].ID, container.ExecOptions{Cmd: append([]string{"/agent"}, args...), AttachStdout: true})
	if err == nil {
		var out interface{ Close() }
		if out, err = attach(ctx, p.engine, exec.ID); err == nil {
			out.Close()
		}
	}
	if err != nil {
		t.Errorf("exec: %v", err)
		return false
	}
	i, err := p.engine.ContainerExecInspect(ctx, exec.ID)
	if err != nil || i.Running {
		t.Errorf("exec has not ended: %v", err)
	}
	return i.ExitCode == 0
}

// attach starts an exec and reads until it has ended.
func attach(ctx context.Context, d *client.Client, id string) (interface{ Close() }, error) {
	out, err := d.ContainerExecAttach(ctx, id, container.ExecAttachOptions{})
	if err != nil {
		return nil, err
	}
	_, err = out.Reader.WriteTo(discard{})
	return &out, err
}

type discard struct{}

func (discard) Write(b []byte) (int, error) { return len(b), nil }

// startEdge runs a service that serves on the network, and returns its address.
func startEdge(t *testing.T, ctx context.Context, d *client.Client, env swarmtest.Env, node string) string {
	t.Helper()
	made, err := d.ServiceCreate(ctx, engine.ServiceSpec{
		Annotations: engine.Annotations{Name: "edge-" + ide.NewID()},
		TaskTemplate: engine.TaskSpec{
			ContainerSpec: &engine.ContainerSpec{Image: env.Image, Labels: map[string]string{"test.edge": env.Config.Instance}},
			Placement:     &engine.Placement{Constraints: []string{"node.id==" + node}},
			Networks:      []engine.NetworkAttachmentConfig{{Target: env.Config.Network}},
		},
		EndpointSpec: &engine.EndpointSpec{Mode: engine.ResolutionModeDNSRR},
	}, engine.ServiceCreateOptions{})
	must(t, err)
	t.Cleanup(func() { must(t, d.ServiceRemove(context.Background(), made.ID)) })
	for {
		tasks, err := d.TaskList(ctx, engine.TaskListOptions{Filters: filters.NewArgs(filters.Arg("service", made.ID))})
		must(t, err)
		if len(tasks) == 1 && tasks[0].Status.State == engine.TaskStateRunning {
			return netip.MustParsePrefix(tasks[0].NetworksAttachments[0].Addresses[0]).Addr().String()
		}
		select {
		case <-ctx.Done():
			t.Fatal("the edge does not start")
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// removeNetwork removes a network as soon as Swarm lets it go.
func removeNetwork(t *testing.T, d *client.Client, name string) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for {
		err := d.NetworkRemove(ctx, name)
		if err == nil || errdefs.IsNotFound(err) {
			return
		}
		select {
		case <-ctx.Done():
			t.Errorf("remove network: %v", err)
			return
		case <-time.After(200 * time.Millisecond):
		}
	}
}
