package functions

import (
	"context"
	"strings"
	"testing"
	"time"

	"berth/internal/ide"

	engine "github.com/docker/docker/api/types/swarm"
)

func nodeIs(state engine.NodeState) func(*engine.Node) {
	return func(n *engine.Node) { n.Status.State = state }
}

// A machine that is dead and was taken out of the Swarm is lost like one that is
// down: its containers fail at once, and can be started elsewhere.
func TestNodeThatWasRemoved(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.withStore()
	b.inside.say("agent", restoredAgent(""))
	first := b.engine.NodeID()
	other := b.second("node-2")
	b.engine.SetNode(first, func(n *engine.Node) { n.Spec.Availability = engine.NodeAvailabilityPause })
	b.publish()
	c := b.createKept()
	if c.Node != other {
		t.Fatalf("it is on %s, want %s", c.Node, other)
	}
	b.engine.SetNode(first, func(n *engine.Node) { n.Spec.Availability = engine.NodeAvailabilityActive })
	b.engine.SetNode(other, nodeIs(engine.NodeStateDown))
	b.engine.RemoveNode(other)
	b.publish()
	b.reconcile()
	stop := b.openJob("container-stop", c.ID)
	if stop == "" {
		t.Fatal("nothing is done about a container whose node has left the Swarm")
	}
	b.execute(stop, ide.JobFailed)
	if got := b.container(c.ID); got.Status != ide.Failed || !got.Unsaved {
		t.Fatalf("it is %s, unsaved: %t, want failed with files unsaved", got.Status, got.Unsaved)
	}
	b.execute(b.restart(c.ID), ide.JobSucceeded)
	if got := b.container(c.ID); got.Status != ide.Running || got.Node != first {
		t.Errorf("it is %s on %s, want running on %s", got.Status, got.Node, first)
	}
}

// starting has a container placed on the second node, before anything of it is there.
func (b *bench) startingOn(node string) (job, id string) {
	b.Helper()
	first := b.engine.NodeID()
	b.engine.SetNode(first, func(n *engine.Node) { n.Spec.Availability = engine.NodeAvailabilityPause })
	b.publish()
	out := b.create(CreateContainerRequest{})
	b.engine.SetNode(first, func(n *engine.Node) { n.Spec.Availability = engine.NodeAvailabilityActive })
	b.publish()
	if got := b.container(out.Container.ID).Node; got != node {
		b.Fatalf("it is on %s, want %s", got, node)
	}
	return out.Job.ID, out.Container.ID
}

// A start whose node dies goes on on another in the same attempt.
func TestStartOnANodeThatDies(t *testing.T) {
	t.Parallel()
	for name, lose := range map[string]func(b *bench, node string){
		"down":    func(b *bench, node string) { b.engine.SetNode(node, nodeIs(engine.NodeStateDown)) },
		"removed": func(b *bench, node string) { b.engine.RemoveNode(node) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			other := b.second("node-2")
			job, id := b.startingOn(other)
			lose(b, other)
			b.keepPublishing()
			b.execute(job, ide.JobSucceeded)
			c, j := b.container(id), b.job(job)
			if c.Status != ide.Running || c.Node != b.engine.NodeID() || c.Run != 2 || j.Attempt != 1 {
				t.Errorf("it is %s on %s in run %d at attempt %d", c.Status, c.Node, c.Run, j.Attempt)
			}
			if got, want := b.left()+", reserved "+b.reserved(), "1 services, 1 secrets, 1 configs, reserved 250000000 268435456"; got != want {
				t.Errorf("left behind: %s, want %s", got, want)
			}
		})
	}
}

const runtimeBroken = "starting container failed: OCI runtime create failed: runc create failed: unable to start container process: exec format error"

// What one node says is no verdict on an image. A node at which three starts in a row
// fail that go well elsewhere takes nothing for a while, and that is told.
func TestNodeWhoseRuntimeFails(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	other := b.second("node-2")
	b.engine.Break(other, runtimeBroken)
	for range 3 {
		job, id := b.startingOn(other)
		b.execute(job, ide.JobSucceeded)
		if c := b.container(id); c.Node == other {
			t.Fatalf("%s runs on the node that fails", id)
		}
	}
	events, err := b.rdb.XRange(t.Context(), "{berth}:events", "-", "+").Result()
	b.must(err)
	told := 0
	for _, e := range events {
		if strings.Contains(e.Values["e"].(string), ide.TypeNodeFailing) {
			told++
		}
	}
	if told != 1 {
		t.Errorf("it is told %d times that the node fails, want once", told)
	}
	place := func() string { return b.create(CreateContainerRequest{}).Container.Node }
	if got := place(); got == other {
		t.Error("the next start is placed on the node that fails, although it was just said to rest")
	}
	b.publish()
	if got := place(); got == other {
		t.Error("the next start is placed on the node that fails")
	}
	// its rest is over
	b.must(b.rdb.HSet(t.Context(), "{berth}:nodes:resting", other, time.Now().Add(-time.Second).UnixMilli()).Err())
	b.publish()
	if got := place(); got != other {
		t.Errorf("after its rest the emptiest node gets nothing")
	}
}

// Two nodes that say the same are believed, and neither is blamed.
func TestImageThatNoNodeCanRun(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	other := b.second("node-2")
	b.engine.Reject(defaultImage, runtimeBroken)
	job, id := b.startingOn(other)
	b.execute(job, ide.JobFailed)
	if j := b.job(job); j.Attempt != 1 || !strings.Contains(j.Error.Message, "cannot be executed") {
		t.Errorf("at attempt %d: %+v", j.Attempt, j.Error)
	}
	if c := b.container(id); c.Status != ide.Failed || c.Run != 2 {
		t.Errorf("it is %s in run %d, want failed after a second node was tried", c.Status, c.Run)
	}
	if n := b.rdb.HLen(t.Context(), "{berth}:nodes:failing").Val(); n != 0 {
		t.Errorf("%d nodes are blamed", n)
	}
	if got, want := b.left()+", reserved "+b.reserved(), "0 services, 0 secrets, 1 configs, reserved 0 0"; got != want {
		t.Errorf("left behind: %s, want %s", got, want)
	}
}

// An engine that cannot be reached costs no attempt: another worker may have one.
func TestEngineThatCannotBeReachedCostsNoAttempt(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	away := *b.Deps
	away.Swarm = b.client(time.Millisecond)
	job := b.create(CreateContainerRequest{}).Job.ID
	b.engine.Down()
	for n := range 3 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		retry(t, Execute(ctx, &away, newest(job)), time.Second<<n)
		cancel()
		if j := b.job(job); j.Status != ide.JobQueued || j.Attempt != 0 || j.Error == nil {
			t.Fatalf("it is %s at attempt %d: %+v", j.Status, j.Attempt, j.Error)
		}
	}
	b.engine.Up()
	b.execute(job, ide.JobSucceeded)
	if j := b.job(job); j.Attempt != 1 {
		t.Errorf("it succeeded at attempt %d", j.Attempt)
	}
}

// What passes at a registry is not the image's fault, and not the node's.
func TestRegistryThatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	for said, passes := range map[string]bool{
		"received unexpected HTTP status: 503 Service Unavailable":                                                        true,
		"toomanyrequests: You have reached your pull rate limit.":                                                         true,
		"Get \"https://reg.test/v2/\": net/http: request canceled while waiting for connection (Client.Timeout exceeded)": true,
		"Get \"https://reg.test/v2/\": dial tcp 192.0.2.1:443: connect: connection refused":                               true,
		"Get \"http://localhost/v2/\": dial tcp 127.0.0.1:80: connect: connection refused":                                false,
		"Get \"https://reg.test/v2/\": dial tcp: lookup reg.test: no such host":                                           false,
		"": false,
	} {
		t.Run(said, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			b.engine.Reject(defaultImage, "No such image: "+defaultImage)
			b.engine.Registry(said)
			job := b.create(CreateContainerRequest{}).Job.ID
			if !passes {
				b.execute(job, ide.JobFailed)
				return
			}
			retry(t, Execute(t.Context(), b.Deps, newest(job)), time.Second)
			b.engine.Reject(defaultImage, "")
			b.execute(job, ide.JobSucceeded)
		})
	}
}
