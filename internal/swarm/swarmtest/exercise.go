package swarmtest

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"berth/internal/ide"
	"berth/internal/swarm"

	engine "github.com/docker/docker/api/types/swarm"
	"github.com/docker/docker/client"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// Env is what the suite needs to know of the Swarm it runs on.
type Env struct {
	Config  swarm.Config // of the client: Host, Instance, Network
	Node    string       // engine ID of a node that takes containers
	Image   string       // runs until SIGTERM
	Missing string       // an image that no node has
	Exiting string       // an image whose program ends at once, with code 3
	Timeout time.Duration
}

// Exercise runs the suite. open is called by each subtest and gives a client
// of an instance of its own: what is made is removed, and nothing else touched.
func Exercise(t *testing.T, open func(t *testing.T) (*swarm.Client, Env)) {
	for name, test := range map[string]func(*bench){
		"engine":                        (*bench).engine,
		"network":                       (*bench).network,
		"config":                        (*bench).config,
		"config written by many":        (*bench).configRace,
		"secret":                        (*bench).secret,
		"service is adopted by run":     (*bench).adoption,
		"stopped run stays stopped":     (*bench).fence,
		"removal spares later runs":     (*bench).removal,
		"container lives":               (*bench).life,
		"missing image":                 (*bench).missingImage,
		"program ends at once":          (*bench).exits,
		"foreign reservations and edge": (*bench).foreign,
		"events":                        (*bench).events,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := &bench{T: t}
			b.c, b.env = open(t)
			ctx, cancel := context.WithTimeout(context.Background(), b.env.Timeout)
			t.Cleanup(cancel)
			b.ctx = ctx
			t.Cleanup(b.clean)
			b.must(b.c.EnsureNetwork(ctx))
			test(b)
		})
	}
}

// bench is one subtest's client, and what it has to remove.
type bench struct {
	*testing.T
	ctx  context.Context
	c    *swarm.Client
	env  Env
	made []ide.Container
}

func (b *bench) must(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

// want checks the class of an error.
func (b *bench) want(what string, err error, code ide.Code, permanent bool) {
	b.Helper()
	if !ide.HasCode(err, code) || ide.IsPermanent(err) != permanent {
		b.Errorf("%s: got %v (permanent %t), want %s (permanent %t)", what, err, ide.IsPermanent(err), code, permanent)
	}
}

// container returns a record for the suite's image; its runs are cleaned up.
func (b *bench) container(image string) ide.Container {
	rec := ide.Container{
		ID: ide.NewID(), Run: 1, Owner: "exercise", Status: ide.Starting, Image: image, Node: b.env.Node,
		Resources: ide.Resources{CPULimit: 2e8, MemoryLimit: 64 << 20, CPUReservation: 1e7, MemoryReservation: 8 << 20, PIDs: 50},
		Labels:    map[string]string{"team": "harbour"},
		CreatedAt: time.Now().UTC().Truncate(time.Millisecond),
		Sealed:    "sealed",
	}
	b.made = append(b.made, rec)
	return rec
}

// start makes secret and service of a run.
func (b *bench) start(rec ide.Container) {
	b.Helper()
	id, err := b.c.PutSecret(b.ctx, rec.ID, rec.Run, []byte("{}"))
	b.must(err)
	b.must(b.c.CreateService(b.ctx, rec, id))
}

func (b *bench) clean() {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(b.ctx), b.env.Timeout)
	defer cancel()
	for _, rec := range b.made {
		const runs = 3
		err := errors.Join(b.c.RemoveService(ctx, rec.ID, runs), b.c.RemoveConfig(ctx, rec.ID))
		for run := range runs + 1 {
			err = errors.Join(err, b.c.WaitGone(ctx, rec.ID, run), b.c.RemoveSecret(ctx, rec.ID, run))
		}
		if err != nil {
			b.Errorf("clean up: %v", err)
		}
	}
	b.c.Close()
}

func (b *bench) engine() {
	info, err := b.c.Info(b.ctx)
	b.must(err)
	if !info.Manager || !info.SwarmActive || info.NodeID == "" || info.API == "" || info.CPU <= 0 || info.Memory <= 0 {
		b.Errorf("info is incomplete: %+v", info)
	}
	nodes, err := b.c.Nodes(b.ctx)
	b.must(err)
	i := slices.IndexFunc(nodes, func(n ide.Node) bool { return n.ID == b.env.Node })
	if i < 0 {
		b.Fatalf("node %s is not in %+v", b.env.Node, nodes)
	}
	if n := nodes[i]; n.State != "ready" || n.Availability != "active" || n.Filtered || n.CPU <= 0 || n.Memory <= 0 || n.Hostname == "" || n.At.IsZero() {
		b.Errorf("node is incomplete: %+v", n)
	}
}

func (b *bench) network() {
	errs := make(chan error)
	for range 4 {
		go func() { errs <- b.c.EnsureNetwork(b.ctx) }()
	}
	for range 4 {
		b.must(<-errs)
	}
	id, err := b.c.NetworkID(b.ctx)
	b.must(err)
	if len(id) < 10 {
		b.Errorf("network ID is %q", id)
	}
}

func (b *bench) config() {
	rec := b.container(b.env.Image)
	b.want("update before there is one", b.c.UpdateConfig(b.ctx, rec), ide.ContainerNotFound, true)
	b.must(b.c.PutConfig(b.ctx, rec, []byte("secrets")))
	rec.Status = ide.Running
	b.must(b.c.PutConfig(b.ctx, rec, []byte("other secrets")))
	rec.Run, rec.Address = 2, "10.0.0.1"
	b.must(b.c.UpdateConfig(b.ctx, rec))
	late := rec
	late.Run = 1
	b.want("update of an older run", b.c.UpdateConfig(b.ctx, late), ide.Conflict, true)
	b.want("put of an older run", b.c.PutConfig(b.ctx, late, []byte("secrets")), ide.Conflict, true)

	got, err := b.c.Configs(b.ctx)
	b.must(err)
	rec.Sealed = ""
	want := []swarm.Record{{Container: rec, Data: []byte("secrets")}}
	if diff := cmp.Diff(want, got, cmpopts.EquateErrors()); diff != "" {
		b.Errorf("configs (-want +got):\n%s", diff)
	}
	b.must(b.c.RemoveConfig(b.ctx, rec.ID))
	b.must(b.c.RemoveConfig(b.ctx, rec.ID))
	if got, err := b.c.Configs(b.ctx); err != nil || len(got) != 0 {
		b.Errorf("configs after removal: %v, %v", got, err)
	}
}

func (b *bench) configRace() {
	rec := b.container(b.env.Image)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			err := b.c.PutConfig(b.ctx, rec, []byte("secrets"))
			if err != nil && !(ide.HasCode(err, ide.Conflict) && !ide.IsPermanent(err)) {
				b.Errorf("put: %v", err)
			}
		})
	}
	wg.Wait()
	if got, err := b.c.Configs(b.ctx); err != nil || len(got) != 1 {
		b.Errorf("got %d configs, %v, want 1", len(got), err)
	}
}

func (b *bench) secret() {
	rec := b.container(b.env.Image)
	first, err := b.c.PutSecret(b.ctx, rec.ID, 1, []byte("a"))
	b.must(err)
	again, err := b.c.PutSecret(b.ctx, rec.ID, 1, []byte("b"))
	b.must(err)
	other, err := b.c.PutSecret(b.ctx, rec.ID, 10, []byte("c")) // <id>-1 is a prefix of its name
	b.must(err)
	if again != first || other == first {
		b.Errorf("secrets of run 1 are %s and %s, of run 10 %s", first, again, other)
	}
	b.must(b.c.CreateService(b.ctx, rec, first))
	b.want("removal while in use", b.c.RemoveSecret(b.ctx, rec.ID, 1), ide.Conflict, false)
	b.must(b.c.RemoveService(b.ctx, rec.ID, 1))
	b.must(b.c.RemoveSecret(b.ctx, rec.ID, 1))
	b.must(b.c.RemoveSecret(b.ctx, rec.ID, 1))
	b.must(b.c.RemoveSecret(b.ctx, rec.ID, 10))
}

func (b *bench) adoption() {
	rec := b.container(b.env.Image)
	rec.Run = 2
	id, err := b.c.PutSecret(b.ctx, rec.ID, rec.Run, []byte("{}"))
	b.must(err)
	b.must(b.c.CreateService(b.ctx, rec, id))
	was, found, err := b.c.Service(b.ctx, rec.ID)
	b.must(err)
	b.must(b.c.CreateService(b.ctx, rec, id))
	is, _, err := b.c.Service(b.ctx, rec.ID)
	b.must(err)
	if !found || was.EngineID != is.EngineID || is.Run != 2 || is.Container != rec.ID || is.UpdatedAt.IsZero() {
		b.Errorf("service %+v was not adopted: %+v", was, is)
	}
	for run, permanent := range map[int]bool{3: false, 1: true} {
		other := rec
		other.Run = run
		id, err := b.c.PutSecret(b.ctx, rec.ID, run, []byte("{}"))
		b.must(err)
		b.want(fmt.Sprintf("create of run %d while run 2 is there", run), b.c.CreateService(b.ctx, other, id), ide.Conflict, permanent)
	}
}

func (b *bench) fence() {
	rec := b.container(b.env.Image)
	id, err := b.c.PutSecret(b.ctx, rec.ID, rec.Run, []byte("{}"))
	b.must(err)
	b.must(b.c.RemoveSecret(b.ctx, rec.ID, rec.Run))
	b.want("create after the stop", b.c.CreateService(b.ctx, rec, id), ide.Conflict, true)
	if _, found, err := b.c.Service(b.ctx, rec.ID); found || err != nil {
		b.Errorf("service: found %t, %v", found, err)
	}
}

func (b *bench) removal() {
	rec := b.container(b.env.Image)
	rec.Run = 2
	b.start(rec)
	b.must(b.c.RemoveService(b.ctx, rec.ID, 1))
	if _, found, err := b.c.Service(b.ctx, rec.ID); !found || err != nil {
		b.Fatalf("a removal of run 1 took run 2: found %t, %v", found, err)
	}
	b.must(b.c.RemoveService(b.ctx, rec.ID, 2))
	b.must(b.c.RemoveService(b.ctx, rec.ID, 2))
	if list, err := b.c.Services(b.ctx); err != nil || len(list) != 0 {
		b.Errorf("services after removal: %v, %v", list, err)
	}
	b.must(b.c.WaitGone(b.ctx, rec.ID, 2))
}

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

	begun := time.Now()
	b.must(b.c.RemoveService(b.ctx, rec.ID, 1))
	if tasks, err := b.c.Tasks(b.ctx); err != nil || len(tasks) != 1 {
		b.Errorf("right after the removal: tasks %+v, %v: want the one that is still going down", tasks, err)
	}
	b.must(b.c.WaitGone(b.ctx, rec.ID, 1))
	b.Logf("states seen on the way up: %q; gone after %v", said, time.Since(begun).Round(time.Millisecond))
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
}

// foreign runs an edge that is a service of somebody else's, with a
// reservation.
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

// until polls.
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
