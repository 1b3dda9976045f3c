package worker

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"berth/internal/ide"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func (b *bench) workers() []ide.Worker {
	b.Helper()
	list, err := b.st.Workers(b.Context(), time.Minute)
	b.must(err)
	return list
}

func (b *bench) guard(cfg GuardConfig) *Guard { return NewGuard(b.deps.Swarm, cfg, b.deps.Log) }

func TestReportOfAManager(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	other := b.engine.AddNode("node-2", 2e9, 4<<30)
	b.must(b.st.Report(t.Context(), ide.Worker{ID: "w2", Node: other, Engine: true, Version: "v9", At: time.Now()}))
	w := b.worker(Config{})
	b.must(w.report(t.Context()))
	b.must(w.report(t.Context()))
	want := []ide.Worker{{ID: "w2", Node: other, Engine: true, Version: "v9"}, {ID: w.id, Node: b.engine.NodeID(), Manager: true, Engine: true, Egress: true, Version: "v9"}}
	if diff := cmp.Diff(want, b.workers(), cmpopts.IgnoreFields(ide.Worker{}, "At"), cmpopts.SortSlices(func(x, y ide.Worker) bool { return x.ID < y.ID })); diff != "" {
		t.Errorf("workers (-want +got):\n%s", diff)
	}
	nodes, err := b.st.Nodes(t.Context())
	b.must(err)
	if len(nodes) != 2 || nodes[0].ID != b.engine.NodeID() || nodes[1].ID != other || nodes[1].CPU != 2e9 {
		t.Fatalf("got nodes %+v", nodes)
	}
	for _, n := range nodes {
		if !n.Placeable() || time.Since(n.At) > time.Minute {
			t.Errorf("got %+v, want room on it", n)
		}
	}
	if n := b.engine.Requests("POST", "/networks/create"); n != 1 {
		t.Errorf("the network was made %d times, want once", n)
	}
}

func TestReportWithIsolationNeedsAFilterOnEachNode(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	other := b.engine.AddNode("node-2", 2e9, 4<<30)
	b.must(b.st.Report(t.Context(), ide.Worker{ID: "w2", Node: other, Filtered: true, At: time.Now()}))
	b.must(b.worker(Config{Guard: b.guard(GuardConfig{Isolation: true})}).report(t.Context()))
	nodes, err := b.st.Nodes(t.Context())
	b.must(err)
	got := map[string]bool{}
	for _, n := range nodes {
		got[n.ID] = n.Filtered
	}
	if diff := cmp.Diff(map[string]bool{b.engine.NodeID(): false, other: true}, got); diff != "" {
		t.Errorf("filtered (-want +got):\n%s", diff)
	}
}

func TestReportWithoutEngine(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	w := b.worker(Config{})
	b.must(w.report(t.Context()))
	b.engine.Down()
	if err := w.report(t.Context()); err == nil || !strings.Contains(err.Error(), "ask engine") {
		t.Errorf("got %v, want that the engine is away", err)
	}
	if list := b.workers(); len(list) != 1 || list[0].Engine || list[0].Manager {
		t.Errorf("got %+v, want a worker without an engine", list)
	}
	if !w.place().manager {
		t.Error("a worker whose engine did not answer once leaves the shared queues")
	}
	if err := w.report(t.Context()); err == nil || w.place().manager {
		t.Errorf("got %v; a worker whose engine did not answer twice serves the shared queues", err)
	}
	b.engine.Up()
	for path, want := range map[string]string{"/nodes": "list nodes", "/tasks": "list"} {
		b.engine.Fail("GET", path, 500, -1)
		if err := w.report(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", path, err, want)
		}
		b.engine.Heal()
	}
	b.must(w.report(t.Context()))
}

func TestReportWithANetworkOfAnotherKind(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.engine.AddNetwork("ide-network", "bridge", false)
	if err := b.worker(Config{}).report(t.Context()); err == nil || !strings.Contains(err.Error(), "make network") {
		t.Errorf("got %v, want that the network does not fit", err)
	}
}

func TestFollowCorrectsAddresses(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.run(Config{})
	out := b.create()
	b.ends(out.Job.ID, ide.JobSucceeded)
	c := b.container(out.Container.ID)
	w := b.worker(Config{})
	set := func(change func(*ide.Container)) {
		t.Helper()
		_, err := b.st.Update(t.Context(), c.ID, func(c *ide.Container) error { change(c); return nil })
		b.must(err)
	}
	set(func(c *ide.Container) { c.Address = "10.86.0.99" })
	b.must(w.follow(t.Context()))
	if got := b.container(c.ID).Address; got != c.Address {
		t.Errorf("got %s, want the task's %s", got, c.Address)
	}
	set(func(c *ide.Container) { c.Address, c.Run = "10.86.0.99", 2 })
	b.must(w.follow(t.Context()))
	if got := b.container(c.ID).Address; got != "10.86.0.99" {
		t.Errorf("the address of an older run's task was taken: %s", got)
	}
	set(func(c *ide.Container) { c.Run, c.Status = 1, ide.Stopping })
	b.must(w.follow(t.Context()))
	if got := b.container(c.ID).Address; got != "10.86.0.99" {
		t.Errorf("a container that does not run got the address %s", got)
	}

	// Swarm replaces the task of a container that died
	set(func(c *ide.Container) { c.Status = ide.Running })
	b.engine.Kill(c.ServiceName(), 1)
	b.until("the new task's address is known", func() bool {
		b.must(w.follow(t.Context()))
		now := b.container(c.ID).Address
		return now != c.Address && now != "10.86.0.99"
	})
	events, err := b.st.History(t.Context(), c.ID)
	b.must(err)
	if last := events[len(events)-1]; last.Type != "container.restarted" && events[0].Type != "container.restarted" {
		t.Errorf("no event says that it was started again: %+v", events)
	}
}

func TestIsolate(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.must(b.worker(Config{}).isolate(t.Context())) // off: nothing is asked for
	if n := b.engine.Requests("", "/tasks"); n != 0 {
		t.Errorf("with isolation off the engine was asked %d times", n)
	}
	helper := b.worker(Config{Guard: b.guard(GuardConfig{Isolation: true, ExecRoot: t.TempDir()})}) // has not yet learnt that it is a manager's
	wantError(t, "no edges published", helper.isolate(t.Context()), "no manager has published the edges")
	manager := b.worker(Config{Guard: b.guard(GuardConfig{Isolation: true, ExecRoot: t.TempDir()})})
	manager.node.manager.Store(true)
	wantError(t, "no network", manager.isolate(t.Context()), "find network")
	if edges, ok, err := b.st.Edges(t.Context()); err != nil || !ok || len(edges) != 0 {
		t.Errorf("got edges %v, %t, %v, want none, but told", edges, ok, err)
	}
	b.must(b.deps.Swarm.EnsureNetwork(t.Context()))
	b.must(b.st.PublishEdges(t.Context(), []netip.Addr{netip.MustParseAddr("10.86.0.2")}))
	wantError(t, "no namespace", helper.isolate(t.Context()), "look at filter")
	if helper.node.filtered.Load() || helper.cfg.Guard.Isolated(t.Context()) {
		t.Error("a filter that does not stand is told to stand")
	}
	helper.node.filtered.Store(true) // it stood until now
	wantError(t, "the filter is gone", helper.isolate(t.Context()), "look at filter")
	if list := b.workers(); len(list) != 1 || list[0].Filtered {
		t.Errorf("got %+v, want it told at once that the filter is gone", list)
	}
	b.engine.Fail("GET", "/tasks", 500, -1)
	wantError(t, "edges cannot be read", manager.isolate(t.Context()), "list edges")
}

func wantError(t *testing.T, what string, err error, words string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), words) {
		t.Errorf("%s: got %v, want %q", what, err, words)
	}
}
