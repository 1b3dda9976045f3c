package functions

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"berth/internal/ide"
	"berth/internal/store"
	"berth/queue"

	engine "github.com/docker/docker/api/types/swarm"
	"github.com/google/go-cmp/cmp"
)

var root = ide.Principal{Name: "root", Role: ide.Admin}

// second adds a node, with the part of its worker that drops volumes.
func (b *bench) second(hostname string) (id string) {
	b.Helper()
	id = b.engine.AddNode(hostname, 4e9, 8<<30)
	b.publish()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	b.Cleanup(func() { cancel(); <-done })
	node := *b.Deps
	go func() {
		defer close(done)
		for pause(ctx, 10*time.Millisecond) == nil {
			_ = DropVolumes(ctx, &node, id)
		}
	}()
	return id
}

// keepPublishing is what a manager's worker does for as long as the test runs.
func (b *bench) keepPublishing() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	b.Cleanup(func() { cancel(); <-done })
	go func() {
		defer close(done)
		for pause(ctx, 20*time.Millisecond) == nil {
			nodes, err := b.Swarm.Nodes(ctx)
			for i := range nodes {
				nodes[i].Filtered = true
			}
			if err == nil {
				_ = b.Store.PublishNodes(ctx, nodes)
			}
		}
	}()
}

// work takes what is delivered, as a worker on a manager does.
func (b *bench) work() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	b.Cleanup(func() { cancel(); <-done })
	go func() {
		defer close(done)
		var jobs sync.WaitGroup
		defer jobs.Wait()
		for pause(ctx, 10*time.Millisecond) == nil {
			due, err := b.Store.Due(ctx, time.Now(), 100)
			if err != nil {
				continue
			}
			for _, j := range due {
				jobs.Go(func() { _ = Execute(ctx, b.Deps, queue.Delivery{Job: j.ID, Number: j.Delivery}) })
			}
		}
	}()
}

func (b *bench) move(id, to string) (store.Admitted, error) {
	a := &MoveContainerArgs{ID: id}
	if to != "" {
		a.Body = &MoveRequest{Node: to}
	}
	return MoveContainer.Enqueue(b.Context(), b.Deps, alice, a)
}

func TestMoveTakesAContainerElsewhere(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	c := b.running()
	_, err := b.move(c.ID, "")
	wantError(t, "there is no other node", err, ide.PlacementImpossible, true)
	other := b.second("node-2")
	_, err = b.move(c.ID, "node-1")
	wantError(t, "to where it is", err, ide.Conflict, true)
	_, err = b.move(c.ID, "nothing")
	wantError(t, "to no node", err, ide.ValidationFailed, true)
	out, err := b.move(c.ID, "node-2")
	b.must(err)
	b.execute(out.Job.ID, ide.JobSucceeded)
	got := b.container(c.ID)
	if got.Status != ide.Running || got.Run != 2 || got.Node != other || got.Address == c.Address || got.URLs != c.URLs || got.ShutdownReason != "" || got.StoppedAt != nil {
		t.Errorf("got %+v, want its second run on %s", got, other)
	}
	want := strings.Fields("queue save service tasks volume place config secret service task agent workspace programs urls record")
	if diff := cmp.Diff(want, stepNames(b.job(out.Job.ID))); diff != "" {
		t.Errorf("steps (-want +got):\n%s", diff)
	}
	if got := b.reserved(); got != "0 0" {
		t.Errorf("the node that it left still has %s reserved", got)
	}
	if got, want := b.left(), "1 services, 1 secrets, 1 configs"; got != want {
		t.Errorf("the engine has %s, want %s", got, want)
	}
	b.execute(b.stop(StopContainerArgs{ID: c.ID}).Job.ID, ide.JobSucceeded)
	_, err = b.move(c.ID, "")
	wantError(t, "of a stopped one", err, ide.Conflict, true)
}

// Whatever step of a move its worker was killed in, another goes on, and the
// container runs once, elsewhere.
func TestMoveIsTakenOver(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"DELETE /services", "DELETE /secrets", "POST /configs", "POST /secrets", "POST /services/create"} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			c := b.running()
			other := b.second("node-2")
			out, err := b.move(c.ID, "")
			b.must(err)
			method, prefix, _ := strings.Cut(path, " ")
			b.engine.Fail(method, prefix, http.StatusInternalServerError, -1)
			retry(t, Execute(t.Context(), b.Deps, newest(out.Job.ID)), time.Second)
			b.engine.Heal()
			b.must(b.rdb.HSet(t.Context(), "{berth}:j:"+out.Job.ID, "status", "running").Err())
			b.execute(out.Job.ID, ide.JobSucceeded)
			if got := b.container(c.ID); got.Status != ide.Running || got.Run != 2 || got.Node != other {
				t.Errorf("got %+v, want its second run on the other node", got)
			}
			if got, want := b.left(), "1 services, 1 secrets, 1 configs"; got != want {
				t.Errorf("the engine has %s, want %s", got, want)
			}
		})
	}
}

// A stop that comes while a move saves wins: the container stays down.
func TestStopEndsAMove(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	c := b.running()
	b.second("node-2")
	out, err := b.move(c.ID, "")
	b.must(err)
	stop := b.stop(StopContainerArgs{ID: c.ID})
	b.execute(out.Job.ID, ide.JobCanceled)
	b.execute(stop.Job.ID, ide.JobSucceeded)
	if got := b.container(c.ID); got.Status != ide.Stopped || got.Run != 1 {
		t.Errorf("got %+v, want it stopped", got)
	}

	// and one that comes when it is on its way up
	b.execute(b.restart(c.ID), ide.JobSucceeded)
	out, err = b.move(c.ID, "")
	b.must(err)
	b.engine.Fail("POST", "/services/create", http.StatusInternalServerError, -1)
	retry(t, Execute(t.Context(), b.Deps, newest(out.Job.ID)), time.Second)
	b.engine.Heal()
	stop = b.stop(StopContainerArgs{ID: c.ID})
	b.execute(stop.Job.ID, ide.JobSucceeded)
	b.execute(out.Job.ID, ide.JobCanceled)
	if got := b.container(c.ID); got.Status != ide.Stopped || got.Run != 3 {
		t.Errorf("got %+v, want its third run stopped", got)
	}
	if got, want := b.left(), "0 services, 0 secrets, 1 configs"; got != want {
		t.Errorf("the engine has %s, want %s", got, want)
	}
}

// When the room is gone that was there, a move tries again, and in the end its
// container is down with all saved.
func TestMoveWithoutRoom(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	c := b.running()
	other := b.second("node-2")
	out, err := b.move(c.ID, "")
	b.must(err)
	b.engine.SetNode(other, func(n *engine.Node) { n.Spec.Availability = engine.NodeAvailabilityPause })
	b.publish()
	for i := range placeAttempts - 1 {
		retry(t, Execute(t.Context(), b.Deps, newest(out.Job.ID)), min(time.Second<<i, 30*time.Second))
	}
	b.execute(out.Job.ID, ide.JobFailed)
	if got := b.container(c.ID); got.Status != ide.Stopped || got.Run != 1 {
		t.Errorf("got %+v, want it stopped", got)
	}
	if j := b.job(out.Job.ID); j.Error == nil || j.Error.Code != ide.ResourceLimitExceeded || !strings.Contains(j.Error.Message, "node-2") {
		t.Errorf("got %v, want why", j.Error)
	}
	b.execute(b.restart(c.ID), ide.JobSucceeded) // where it was
}

func TestDrainMovesAllAndThenRemove(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	var ids []string
	for range 3 {
		ids = append(ids, b.running().ID)
	}
	first, other := b.engine.NodeID(), b.second("node-2")
	b.keepPublishing()
	b.work()
	_, err := DrainNode.Enqueue(t.Context(), b.Deps, alice, &DrainNodeArgs{NodeInput{ID: "node-1"}})
	wantError(t, "by a client", err, ide.Forbidden, true)
	_, err = RemoveNode.Enqueue(t.Context(), b.Deps, root, &RemoveNodeArgs{NodeInput{ID: "node-1"}})
	wantError(t, "removal of the last manager", err, ide.Conflict, true)
	out, err := DrainNode.Enqueue(t.Context(), b.Deps, root, &DrainNodeArgs{NodeInput{ID: "node-1"}})
	b.must(err)
	until(t, "the drain ends", func() bool { return b.job(out.Job.ID).Status.Ended() })
	j := b.job(out.Job.ID)
	if j.Status != ide.JobSucceeded || j.Node != first {
		t.Fatalf("the drain is %s: %v", j.Status, j.Error)
	}
	for _, id := range ids {
		if !slices.Contains(stepNames(j), "move "+id) {
			t.Errorf("there is no step for %s in %v", id, stepNames(j))
		}
		if c := b.container(id); c.Status != ide.Running || c.Node != other || c.Run != 2 {
			t.Errorf("%s is %s on %s", id, c.Status, c.Node)
		}
	}
	// the other way round, to remove the first, which needs another manager
	_, err = RemoveNode.Enqueue(t.Context(), b.Deps, root, &RemoveNodeArgs{NodeInput{ID: "node-2"}})
	wantError(t, "removal of a node with containers", err, ide.Conflict, true)
	act, err := ActivateNode.Enqueue(t.Context(), b.Deps, root, &ActivateNodeArgs{NodeInput{ID: first}})
	b.must(err)
	until(t, "it is active again", func() bool { return b.job(act.Job.ID).Status == ide.JobSucceeded })
	until(t, "and published so", func() bool { n, err := b.node(t.Context(), first); return err == nil && n.Availability == "active" })
	out, err = DrainNode.Enqueue(t.Context(), b.Deps, root, &DrainNodeArgs{NodeInput{ID: other}})
	b.must(err)
	until(t, "the other drain ends", func() bool { return b.job(out.Job.ID).Status == ide.JobSucceeded })
	rm, err := RemoveNode.Enqueue(t.Context(), b.Deps, root, &RemoveNodeArgs{NodeInput{ID: other}})
	b.must(err)
	until(t, "it is removed", func() bool { return b.job(rm.Job.ID).Status.Ended() })
	if j := b.job(rm.Job.ID); j.Status != ide.JobSucceeded {
		t.Fatalf("the removal is %s: %v", j.Status, j.Error)
	}
	if nodes, err := b.Swarm.Nodes(t.Context()); err != nil || len(nodes) != 1 {
		t.Errorf("got nodes %+v, %v", nodes, err)
	}
}

// What cannot go elsewhere stays, and the drain says why.
func TestDrainSaysWhatStays(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.engine.SetNode(b.engine.NodeID(), func(n *engine.Node) { n.Spec.Labels = map[string]string{"gpu": "true"} })
	b.publish()
	out := b.create(CreateContainerRequest{Placement: &ide.Placement{Constraints: []string{"node.labels.gpu==true"}}})
	b.execute(out.Job.ID, ide.JobSucceeded)
	b.second("node-2")
	b.keepPublishing()
	b.work()
	drained, err := DrainNode.Enqueue(t.Context(), b.Deps, root, &DrainNodeArgs{NodeInput{ID: "node-1"}})
	b.must(err)
	until(t, "the drain ends", func() bool { return b.job(drained.Job.ID).Status.Ended() })
	j := b.job(drained.Job.ID)
	if j.Status != ide.JobFailed || !strings.Contains(j.Error.Message, "node.labels.gpu==true does not hold there") {
		t.Errorf("got %s, %v", j.Status, j.Error)
	}
	if c := b.container(out.Container.ID); c.Status != ide.Running || c.Run != 1 {
		t.Errorf("got %+v, want it untouched", c)
	}
	n, err := b.swarmNode(t.Context(), b.engine.NodeID())
	if err != nil || n.Availability != "pause" {
		t.Errorf("the node is %q, %v, want it closed", n.Availability, err)
	}
}

func TestLabels(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.keepPublishing()
	for _, bad := range []map[string]string{{"a b": "x"}, {"": "x"}, {"a": "x\n"}} {
		_, err := LabelNode.Enqueue(t.Context(), b.Deps, root, &LabelNodeArgs{NodeInput: NodeInput{ID: "node-1"}, Body: NodeLabels{Labels: bad}})
		wantError(t, fmt.Sprint(bad), err, ide.ValidationFailed, true)
	}
	out, err := LabelNode.Enqueue(t.Context(), b.Deps, root, &LabelNodeArgs{NodeInput: NodeInput{ID: "node-1"}, Body: NodeLabels{Labels: map[string]string{"disk": "ssd"}}})
	b.must(err)
	b.execute(out.Job.ID, ide.JobSucceeded)
	n, err := b.node(t.Context(), "node-1")
	if err != nil || n.Labels["disk"] != "ssd" {
		t.Errorf("got %v, %v", n.Labels, err)
	}
}

// A job for a node that has left is taken by another worker, which says so.
func TestJobOfANodeThatHasLeft(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.Node = b.engine.NodeID
	b.must(AskImages(t.Context(), b.Deps, "gone"))
	job := "node-images:gone:1"
	if state, err := b.Queue.State(job, 1, "node-gone"); err != nil || state != queue.Waiting {
		t.Fatalf("got state %d, %v, want it in the node's queue", state, err)
	}
	b.must(b.Queue.KeepNodes(t.Context(), []string{b.engine.NodeID()}))
	if names := b.rdb.SMembers(t.Context(), "asynq:queues").Val(); slices.Contains(names, "node-gone") {
		t.Errorf("the queue of a node that has left is there: %v", names)
	}
	b.must(DeliverDue(t.Context(), b.Deps))
	if state, err := b.Queue.State(job, 1, queue.Low); err != nil || state != queue.Waiting {
		t.Fatalf("got state %d, %v, want it in a shared queue", state, err)
	}
	b.execute(job, ide.JobFailed)
	if j := b.job(job); j.Error == nil || j.Error.Code != ide.NotFound || j.Node != "gone" {
		t.Errorf("got %+v", j)
	}
}
