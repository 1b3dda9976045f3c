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

func TestWaitRunningSurvivesShortFailures(t *testing.T) {
	t.Parallel()
	s := swarmtest.NewServer(t)
	c := open(t, s)
	rec := newContainer("agent:1")
	start(t, c, rec)
	s.Fail("GET", "/tasks", 500, 3)
	s.Fail("GET", "/events", 500, -1)
	if task, err := c.WaitRunning(t.Context(), rec, nil); err != nil || task.Container != rec.ID {
		t.Errorf("got %+v, %v", task, err)
	}
}

func TestWaitRunningEndsWithAnEngineThatStaysDown(t *testing.T) {
	t.Parallel()
	s := swarmtest.NewServer(t)
	c, err := swarm.New(swarm.Config{Host: s.Host(), Instance: "test", Network: "ide-network", Tolerance: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	rec := newContainer("agent:1")
	start(t, c, rec)
	s.Down()
	if _, err := c.WaitRunning(t.Context(), rec, nil); !ide.HasCode(err, ide.Docker) || ide.IsPermanent(err) {
		t.Errorf("got %v", err)
	}
}

func TestWaitRunningSaysWhereItStood(t *testing.T) {
	t.Parallel()
	s := swarmtest.NewServer(t)
	c := open(t, s)
	s.SetNode(s.NodeID(), func(n *engine.Node) { n.Spec.Availability = engine.NodeAvailabilityDrain })
	rec := newContainer("agent:1")
	start(t, c, rec)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	_, err := c.WaitRunning(ctx, rec, func(state string) {
		if state == "pending" {
			cancel()
		}
	})
	if !ide.HasCode(err, ide.ContainerStartFailed) || ide.IsPermanent(err) || !strings.Contains(ide.AsError(err).Message, "pending") {
		t.Errorf("got %v", err)
	}
}

func TestWaitRunningEndsWithTheRun(t *testing.T) {
	t.Parallel()
	s := swarmtest.NewServer(t)
	c := open(t, s)
	rec := newContainer("agent:1")
	rec.Node = "none" // it stays pending
	start(t, c, rec)
	stopped := func(state string) {
		if state == "pending" {
			if err := c.RemoveService(t.Context(), rec.ID, 1); err != nil {
				t.Error(err)
			}
		}
	}
	if _, err := c.WaitRunning(t.Context(), rec, stopped); !ide.HasCode(err, ide.Conflict) || ide.IsPermanent(err) {
		t.Errorf("got %v", err)
	}
}

func TestWaitRunningOnAnotherNode(t *testing.T) {
	t.Parallel()
	s := swarmtest.NewServer(t)
	c := open(t, s)
	rec := newContainer("agent:1")
	rec.Node = s.AddNode("node-2", 2e9, 4<<30)
	start(t, c, rec)
	task, err := c.WaitRunning(t.Context(), rec, nil)
	if err != nil || task.Node != rec.Node || task.State != "running" {
		t.Errorf("got %+v, %v", task, err)
	}
}

func TestTasksShowTheNewestAttempt(t *testing.T) {
	t.Parallel()
	s := swarmtest.NewServer(t)
	c := open(t, s)
	rec := newContainer("agent:1")
	start(t, c, rec)
	first, err := c.WaitRunning(t.Context(), rec, nil)
	if err != nil {
		t.Fatal(err)
	}
	s.Kill(rec.ServiceName(), 3)
	deadline := time.After(time.Minute)
	for {
		tasks, err := c.Tasks(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if len(tasks) == 1 && tasks[0].ID != first.ID && tasks[0].State == "running" {
			break
		}
		select {
		case <-deadline:
			t.Fatalf("Swarm's restart does not show: %+v", tasks)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func TestWaitGoneKnowsNodesThatAreDown(t *testing.T) {
	t.Parallel()
	s := swarmtest.NewServer(t)
	c := open(t, s)
	rec := newContainer("agent:1")
	rec.Node = s.AddNode("node-2", 2e9, 4<<30)
	start(t, c, rec)
	if _, err := c.WaitRunning(t.Context(), rec, nil); err != nil {
		t.Fatal(err)
	}
	s.SetNode(rec.Node, func(n *engine.Node) { n.Status.State = engine.NodeStateDown })
	if err := c.RemoveService(t.Context(), rec.ID, 1); err != nil {
		t.Fatal(err)
	}
	err := c.WaitGone(t.Context(), rec.ID, 1)
	if !errors.Is(err, swarm.ErrNodeDown) || !ide.HasCode(err, ide.ContainerStopFailed) || ide.IsPermanent(err) {
		t.Errorf("node down: %v", err)
	}
	s.RemoveNode(rec.Node)
	if err := c.WaitGone(t.Context(), rec.ID, 1); !errors.Is(err, swarm.ErrNodeDown) {
		t.Errorf("node removed: %v", err)
	}
}

func TestWaitGoneSaysWhatIsLeft(t *testing.T) {
	t.Parallel()
	s := swarmtest.NewServer(t)
	c := open(t, s)
	rec := newContainer("agent:1")
	start(t, c, rec)
	if _, err := c.WaitRunning(t.Context(), rec, nil); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	before := s.Requests("GET", "/nodes")
	go func() {
		for t.Context().Err() == nil && s.Requests("GET", "/nodes") == before { // it asks for them when it has seen a task
			time.Sleep(time.Millisecond)
		}
		cancel()
	}()
	err := c.WaitGone(ctx, rec.ID, 1)
	if !ide.HasCode(err, ide.ContainerStopFailed) || ide.IsPermanent(err) || !strings.Contains(ide.AsError(err).Message, "running") {
		t.Errorf("got %v", err)
	}
	if err := c.WaitGone(t.Context(), rec.ID, 2); err != nil {
		t.Errorf("another run holds it up: %v", err)
	}
}
