package functions

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"berth/internal/ide"
	"berth/queue"

	engine "github.com/docker/docker/api/types/swarm"
)

func TestStopWinsOverAStartUnderWay(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.inside.say("agent", answer{status: 503})
	out := b.create(CreateContainerRequest{})
	id := out.Container.ID
	done := make(chan error, 1)
	go func() { done <- Execute(t.Context(), b.Deps, newest(out.Job.ID)) }()
	b.untilStep(out.Job.ID, "agent")
	stop := b.stop(StopContainerArgs{ID: id})
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if j := b.job(out.Job.ID); j.Status != ide.JobCanceled {
		t.Errorf("the start is %s, want canceled", j.Status)
	}
	b.delivery(stop.Job.ID, 1, queue.Waiting)
	b.execute(stop.Job.ID, ide.JobSucceeded)
	if c := b.container(id); c.Status != ide.Stopped || c.ShutdownReason != ide.Manual || c.Error != nil {
		t.Errorf("got %s (%s, %v), want stopped by hand", c.Status, c.ShutdownReason, c.Error)
	}
	if got := b.left(); got != "0 services, 0 secrets, 1 configs" {
		t.Errorf("the engine still has %s", got)
	}
}

// A worker that wakes up late with a start of a run that was stopped.
func TestLateStartCannotUndoAStop(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	c := b.running()
	c.Status = ide.Starting
	secret, err := b.Swarm.PutSecret(t.Context(), c.ID, c.Run, []byte("{}")) // adopts
	b.must(err)
	b.execute(b.stop(StopContainerArgs{ID: c.ID}).Job.ID, ide.JobSucceeded)
	wantError(t, "a late service", b.Swarm.CreateService(t.Context(), c, secret), ide.Conflict, true)
	b.must(failStart(t.Context(), b.Deps, c.ID, c.Run, "container-create", ide.Errorf(ide.Timeout, "late")))
	if got := b.container(c.ID); got.Status != ide.Stopped || got.Error != nil {
		t.Errorf("a late failure made it %s (%v)", got.Status, got.Error)
	}
	b.must(failStart(t.Context(), b.Deps, ide.NewID(), 1, "container-create", ide.Errorf(ide.Timeout, "late")))
}

func TestStopOnANodeThatIsDown(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	c := b.running()
	b.engine.SetNode(b.engine.NodeID(), func(n *engine.Node) { n.Status.State = engine.NodeStateDown })
	job := b.stop(StopContainerArgs{ID: c.ID}).Job.ID
	retry(t, Execute(t.Context(), b.Deps, newest(job)), time.Second)
	if j := b.job(job); j.Error == nil || j.Error.Code != ide.ContainerStopFailed || !strings.Contains(j.Error.Message, "node is down") {
		t.Errorf("got %v, want that the node is down", j.Error)
	}
	if got := b.reserved(); got == "0 0" {
		t.Error("the reservation was given back though the container may still run")
	}
	b.stop(StopContainerArgs{ID: c.ID, Force: true})
	b.execute(job, ide.JobSucceeded)
	if got := b.container(c.ID); got.Status != ide.Stopped {
		t.Errorf("got %s, want stopped", got.Status)
	}
	if got := b.reserved(); got != "0 0" {
		t.Errorf("reserved: got %s, want nothing", got)
	}
}

func TestForceReachesAStopThatWaits(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	c := b.running()
	b.engine.SetNode(b.engine.NodeID(), func(n *engine.Node) { n.Status.State = engine.NodeStateDown })
	release := b.engine.Hang("GET", "/tasks") // so that it neither ends nor fails
	defer release()
	job := b.stop(StopContainerArgs{ID: c.ID}).Job.ID
	done := make(chan error, 1)
	go func() { done <- Execute(t.Context(), b.Deps, newest(job)) }()
	b.untilStep(job, "tasks")
	b.stop(StopContainerArgs{ID: c.ID, Force: true})
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if got := b.container(c.ID); got.Status != ide.Stopped {
		t.Errorf("got %s, want stopped", got.Status)
	}
}

func TestStopThatFailsForGood(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	c := b.running()
	job := b.stop(StopContainerArgs{ID: c.ID}).Job.ID
	b.must(b.rdb.HSet(t.Context(), "{berth}:j:"+job, "attempt", StopContainer.Attempts-1).Err())
	b.engine.Fail("", "/services", http.StatusInternalServerError, -1)
	b.execute(job, ide.JobFailed)
	got := b.container(c.ID)
	if got.Status != ide.Failed || got.Error == nil || got.Error.Code != ide.ContainerStopFailed {
		t.Errorf("got %s (%v), want failed with CONTAINER_STOP_FAILED", got.Status, got.Error)
	}
	b.engine.Heal()
	b.execute(b.stop(StopContainerArgs{ID: c.ID}).Job.ID, ide.JobSucceeded) // cleans up
	if got := b.container(c.ID); got.Status != ide.Stopped {
		t.Errorf("got %s, want stopped", got.Status)
	}
	// its Fail, late: another run, a purged record
	b.must(StopContainer.Fail(t.Context(), b.Deps, StopContainerArgs{ID: c.ID, Run: 7}, ide.Errorf(ide.Docker, "late")))
	b.must(StopContainer.Fail(t.Context(), b.Deps, StopContainerArgs{ID: ide.NewID(), Run: 1}, ide.Errorf(ide.Docker, "late")))
}

func TestStopOfWhatIsGone(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	c := b.running()
	job := b.stop(StopContainerArgs{ID: c.ID, Purge: true}).Job.ID
	b.execute(job, ide.JobSucceeded)
	b.must(stop(t.Context(), b.Deps, StopContainerArgs{ID: c.ID, Run: 1, Purge: true})) // an attempt that comes late
}

func TestPurgeOfAStoppedContainer(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	c := b.running()
	b.execute(b.stop(StopContainerArgs{ID: c.ID}).Job.ID, ide.JobSucceeded)
	b.execute(b.stop(StopContainerArgs{ID: c.ID, Purge: true}).Job.ID, ide.JobSucceeded)
	if got := b.left(); got != "0 services, 0 secrets, 0 configs" {
		t.Errorf("the engine still has %s", got)
	}
	if keys := b.rdb.Keys(t.Context(), "{berth}:c:"+c.ID+"*").Val(); len(keys) != 0 {
		t.Errorf("Redis still has %v", keys)
	}
	if seq := b.rdb.HGetAll(t.Context(), "{berth}:j:seq").Val(); len(seq) != 0 {
		t.Errorf("job numbers are left: %v", seq)
	}
}
