package swarm_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"berth/internal/ide"
	"berth/internal/swarm"
	"berth/internal/swarm/swarmtest"

	engine "github.com/docker/docker/api/types/swarm"
)

// open returns a client of a fake of its own.
func open(t *testing.T, s *swarmtest.Server) *swarm.Client {
	t.Helper()
	c, err := swarm.New(swarm.Config{Host: s.Host(), Instance: "test", Network: "ide-network", Tolerance: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestExerciseFake(t *testing.T) {
	t.Parallel()
	swarmtest.Exercise(t, func(t *testing.T) (*swarm.Client, swarmtest.Env) {
		s := swarmtest.NewServer(t)
		s.Lack("missing:1")
		s.Reject("missing:1", "No such image: missing:1")
		s.Exit("exiting:1", 3)
		env := swarmtest.Env{
			Config:  swarm.Config{Host: s.Host(), Instance: "t-" + ide.NewID(), Network: "ide-network", Tolerance: time.Minute},
			Node:    s.NodeID(),
			Image:   "agent:1",
			Missing: "missing:1",
			Exiting: "exiting:1",
			Timeout: 2 * time.Minute,
		}
		c, err := swarm.New(env.Config)
		if err != nil {
			t.Fatal(err)
		}
		return c, env
	})
}

func newContainer(image string) ide.Container {
	return ide.Container{ID: ide.NewID(), Run: 1, Owner: "test", Status: ide.Starting, Image: image,
		Resources: ide.Resources{MemoryLimit: 64 << 20, CPUReservation: 1e9, MemoryReservation: 1 << 30}}
}

// start makes network, secret and service.
func start(t *testing.T, c *swarm.Client, rec ide.Container) {
	t.Helper()
	if err := c.EnsureNetwork(t.Context()); err != nil {
		t.Fatal(err)
	}
	id, err := c.PutSecret(t.Context(), rec.ID, rec.Run, []byte("{}"))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.CreateService(t.Context(), rec, id); err != nil {
		t.Fatal(err)
	}
}

func TestEngineDownIsTransient(t *testing.T) {
	t.Parallel()
	s := swarmtest.NewServer(t)
	c := open(t, s)
	ctx := t.Context()
	if err := c.EnsureNetwork(ctx); err != nil {
		t.Fatal(err)
	}
	s.Down()
	rec := newContainer("agent:1")
	calls := map[string]func() error{
		"Info":          func() error { _, err := c.Info(ctx); return err },
		"EnsureNetwork": func() error { return c.EnsureNetwork(ctx) },
		"NetworkID":     func() error { _, err := c.NetworkID(ctx); return err },
		"Edges":         func() error { _, err := c.Edges(ctx); return err },
		"PutConfig":     func() error { return c.PutConfig(ctx, rec, []byte("x")) },
		"UpdateConfig":  func() error { return c.UpdateConfig(ctx, rec) },
		"Configs":       func() error { _, err := c.Configs(ctx); return err },
		"RemoveConfig":  func() error { return c.RemoveConfig(ctx, rec.ID) },
		"PutSecret":     func() error { _, err := c.PutSecret(ctx, rec.ID, 1, []byte("x")); return err },
		"RemoveSecret":  func() error { return c.RemoveSecret(ctx, rec.ID, 1) },
		"CreateService": func() error { return c.CreateService(ctx, rec, "secret") },
		"Service":       func() error { _, _, err := c.Service(ctx, rec.ID); return err },
		"Services":      func() error { _, err := c.Services(ctx); return err },
		"RemoveService": func() error { return c.RemoveService(ctx, rec.ID, 1) },
		"Tasks":         func() error { _, err := c.Tasks(ctx); return err },
		"Nodes":         func() error { _, err := c.Nodes(ctx); return err },
		"Events":        func() error { _, errs := c.Events(ctx); return <-errs },
	}
	for name, call := range calls {
		if err := call(); !ide.HasCode(err, ide.Docker) || ide.IsPermanent(err) {
			t.Errorf("%s while the engine is down: %v", name, err)
		} else if m := ide.AsError(err).Message; m != "The container engine cannot be reached." {
			t.Errorf("%s shows %q", name, m)
		}
	}
	s.Up()
	if _, err := c.Info(ctx); err != nil {
		t.Errorf("after it is back: %v", err)
	}
}

func TestStatusesAreClassified(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]struct {
		code      ide.Code
		permanent bool
	}{
		400: {ide.Docker, true}, 401: {ide.Docker, true}, 403: {ide.Docker, true}, 404: {ide.Docker, false},
		409: {ide.Conflict, false}, 500: {ide.Docker, false}, 501: {ide.Docker, true}, 503: {ide.Docker, false},
	} {
		s := swarmtest.NewServer(t)
		c := open(t, s)
		s.Fail("GET", "/services", status, 1)
		_, err := c.Services(t.Context())
		if !ide.HasCode(err, want.code) || ide.IsPermanent(err) != want.permanent {
			t.Errorf("status %d: %v, permanent %t, want %s, %t", status, err, ide.IsPermanent(err), want.code, want.permanent)
		}
		if m := ide.AsError(err).Message; strings.Contains(m, "injected") {
			t.Errorf("status %d shows the engine's words: %q", status, m)
		}
	}
}

func TestHangingEngineEndsWithTheContext(t *testing.T) {
	t.Parallel()
	s := swarmtest.NewServer(t)
	c := open(t, s)
	release := s.Hang("GET", "/services")
	defer release()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := c.Services(ctx)
	if !ide.HasCode(err, ide.Docker) || ide.IsPermanent(err) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	release()
	if _, err := c.Services(t.Context()); err != nil {
		t.Errorf("after the release: %v", err)
	}
}

func TestABrokenConfigCostsItsOwnRow(t *testing.T) {
	t.Parallel()
	s := swarmtest.NewServer(t)
	c := open(t, s)
	good, broken, stray := newContainer("agent:1"), newContainer("agent:1"), newContainer("agent:1")
	for _, rec := range []ide.Container{good, broken} {
		if err := c.PutConfig(t.Context(), rec, []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	s.SetConfigLabels("berth-test-"+broken.ID, func(l map[string]string) { l[swarm.LabelRecord] = "{" })
	if err := c.PutConfig(t.Context(), stray, []byte("x")); err != nil {
		t.Fatal(err)
	}
	s.SetConfigLabels("berth-test-"+stray.ID, func(l map[string]string) {
		l[swarm.LabelID] = good.ID
		l[swarm.LabelRecord] = strings.ReplaceAll(l[swarm.LabelRecord], stray.ID, good.ID)
	})
	records, err := c.Configs(t.Context())
	if err != nil || len(records) != 3 {
		t.Fatalf("got %d records, %v, want 3", len(records), err)
	}
	sound := 0
	for _, r := range records {
		if r.Err == nil {
			sound++
			if r.Container.ID != good.ID || string(r.Data) != "x" {
				t.Errorf("sound record is %+v", r)
			}
		}
	}
	if sound != 1 {
		t.Errorf("%d sound records, want 1: %+v", sound, records)
	}
}

func TestUpdateConfigReadsAgainWhenOvertaken(t *testing.T) {
	t.Parallel()
	s := swarmtest.NewServer(t)
	c := open(t, s)
	rec := newContainer("agent:1")
	if err := c.PutConfig(t.Context(), rec, []byte("x")); err != nil {
		t.Fatal(err)
	}
	s.Overtake(2)
	if err := c.UpdateConfig(t.Context(), rec); err != nil {
		t.Errorf("overtaken twice: %v", err)
	}
	s.Overtake(100)
	if err := c.UpdateConfig(t.Context(), rec); !ide.HasCode(err, ide.Conflict) || ide.IsPermanent(err) {
		t.Errorf("overtaken for ever: %v", err)
	}
}

func TestStrangersThingsAreLeftAlone(t *testing.T) {
	t.Parallel()
	s := swarmtest.NewServer(t)
	ours := open(t, s)
	theirs, err := swarm.New(swarm.Config{Host: s.Host(), Instance: "theirs"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { theirs.Close() })
	ctx := t.Context()
	rec := newContainer("agent:1")
	start(t, theirs, rec)

	if _, err := ours.PutSecret(ctx, rec.ID, 1, []byte("x")); !ide.HasCode(err, ide.Conflict) || !ide.IsPermanent(err) {
		t.Errorf("secret: %v", err)
	}
	id, err := theirs.PutSecret(ctx, rec.ID, 1, []byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	if err := ours.CreateService(ctx, rec, id); !ide.HasCode(err, ide.Conflict) || !ide.IsPermanent(err) {
		t.Errorf("service: %v", err)
	}
	if err := errors.Join(ours.RemoveSecret(ctx, rec.ID, 1), ours.RemoveService(ctx, rec.ID, 1)); err != nil {
		t.Error(err)
	}
	if _, found, err := ours.Service(ctx, rec.ID); found || err != nil {
		t.Errorf("their service is seen as ours: %t, %v", found, err)
	}
	if _, found, err := theirs.Service(ctx, rec.ID); !found || err != nil {
		t.Errorf("their service is gone: %t, %v", found, err)
	}
	if _, err := theirs.WaitRunning(ctx, rec, nil); err != nil {
		t.Fatal(err)
	}
	nodes, err := ours.Nodes(ctx)
	if err != nil || nodes[0].ForeignCPU != 1e9 || nodes[0].ForeignMemory != 1<<30 {
		t.Errorf("their reservation does not count as foreign: %+v, %v", nodes, err)
	}
	if nodes, err = theirs.Nodes(ctx); err != nil || nodes[0].ForeignCPU != 0 {
		t.Errorf("their reservation counts as foreign with themselves: %+v, %v", nodes, err)
	}
}

func TestNodesWithoutADescription(t *testing.T) {
	t.Parallel()
	s := swarmtest.NewServer(t)
	c := open(t, s)
	bad := s.AddNode("node-2", 0, 0)
	s.SetNode(bad, func(n *engine.Node) { *n = engine.Node{ID: bad} })
	nodes, err := c.Nodes(t.Context())
	if err != nil || len(nodes) != 2 {
		t.Fatalf("got %+v, %v", nodes, err)
	}
	for _, n := range nodes {
		if n.ID == bad && (n.State != "unknown" || n.Placeable()) {
			t.Errorf("bad node: %+v", n)
		}
	}
}

func TestANetworkThatIsNoOverlayIsRefused(t *testing.T) {
	t.Parallel()
	s := swarmtest.NewServer(t)
	c := open(t, s)
	if _, err := c.NetworkID(t.Context()); !ide.HasCode(err, ide.Docker) || ide.IsPermanent(err) {
		t.Errorf("ID of a network that is not there: %v", err)
	}
	s.AddNetwork("ide-network", "bridge", false)
	if err := c.EnsureNetwork(t.Context()); !ide.HasCode(err, ide.Docker) || !ide.IsPermanent(err) {
		t.Errorf("got %v", err)
	}
}

func TestNewerEnginesGetMore(t *testing.T) {
	t.Parallel()
	for api, want := range map[string]bool{"1.41": false, "1.43": false, "1.44": true, "1.51": true} {
		s := swarmtest.NewServer(t)
		s.SetAPI(api)
		c := open(t, s)
		rec := newContainer("agent:1")
		start(t, c, rec)
		spec := s.ServiceSpec(rec.ServiceName()).TaskTemplate.ContainerSpec
		if got := spec.Healthcheck != nil && spec.Privileges != nil && spec.Privileges.NoNewPrivileges; got != want {
			t.Errorf("API %s: health check and no new privileges %t, want %t", api, got, want)
		}
		if info, err := c.Info(t.Context()); err != nil || info.API != api {
			t.Errorf("negotiated %q, %v, want %s", info.API, err, api)
		}
	}
}
