package swarmtest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"berth/internal/ide"
	"berth/internal/swarm"

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
		"survey":                        (*bench).survey,
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
		"logs of this node":             (*bench).logs,
		"counters of this node":         (*bench).stats,
		"nodes are labelled":            (*bench).labels,
		"last manager stays":            (*bench).lastManager,
		"images pass between engines":   (*bench).images,
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
	if !info.Manager || !info.SwarmActive || info.NodeID == "" || info.API == "" || info.CPU <= 0 || info.Memory <= 0 || info.Storage == "" || info.DataRoot == "" {
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

// survey looks at the Swarm's set-up, and at how a container fills the network.
func (b *bench) survey() {
	s, err := b.c.Survey(b.ctx)
	b.must(err)
	if s.Storage == "" || s.Locked || len(s.Security) == 0 || time.Since(s.Clock).Abs() > time.Minute || len(s.Pools) == 0 || s.PoolBits < 8 || len(s.Taken) == 0 {
		b.Errorf("survey is incomplete: %+v", s)
	}
	n := s.Network
	if n == nil || n.Driver != "overlay" || !n.Attachable || n.Encrypted || !n.Subnet.IsValid() || n.Size < 8 {
		b.Fatalf("network is incomplete: %+v", n)
	}
	rec := b.container(b.env.Image)
	b.start(rec)
	if _, err := b.c.WaitRunning(b.ctx, rec, nil); err != nil {
		b.Fatal(err)
	}
	after, err := b.c.Survey(b.ctx)
	b.must(err)
	if after.Network.Used < 2 { // other tests come and go: the task, and the load balancer of its node
		b.Errorf("with a container %d addresses are in use", after.Network.Used)
	}
	for image, want := range map[string]bool{b.env.Image: true, b.env.Missing: false} {
		if has, err := b.c.HasImage(b.ctx, image); err != nil || has != want {
			b.Errorf("has %s: got %t, %v, want %t", image, has, err, want)
		}
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

// foreign runs an edge that is a service of somebody else's, with a
// reservation.
// until polls.
