package functions

import (
	"context"
	"testing"

	"berth/internal/ide"
	"berth/internal/store"
)

// A restart is one job, and no other is open beside it: its stop and its start
// need no further slot.
func TestRestartIsOneJob(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	id := b.running().ID
	out, err := Act(t.Context(), b.Deps, alice, "restart", id, Request{})
	b.must(err)
	if c := b.container(id); c.Status != ide.Stopping || c.Job != out.Job.ID {
		t.Errorf("it is %s by %s, want stopping by %s", c.Status, c.Job, out.Job.ID)
	}
	again, err := Act(t.Context(), b.Deps, alice, "restart", id, Request{})
	if err != nil || again.Job.ID != out.Job.ID || !again.Open {
		t.Errorf("the same once more: got %s, %v, want %s", again.Job.ID, err, out.Job.ID)
	}
	b.execute(out.Job.ID, ide.JobSucceeded)
	if c, j := b.container(id), b.job(out.Job.ID); c.Status != ide.Running || c.Run != 2 || j.Attempt != 1 {
		t.Errorf("got %s in run %d, at attempt %d: %+v", c.Status, c.Run, j.Attempt, j.Error)
	}
	if got := b.left(); got != "1 services, 1 secrets, 1 configs" {
		t.Errorf("left behind: %s", got)
	}
	if _, err := Act(t.Context(), b.Deps, bob, "restart", id, Request{}); !ide.HasCode(err, ide.ContainerNotFound) {
		t.Errorf("another owner's: got %v", err)
	}
	b.execute(b.stop(StopContainerArgs{ID: id}).Job.ID, ide.JobSucceeded)
	if _, err := Act(t.Context(), b.Deps, alice, "restart", id, Request{}); !ide.HasCode(err, ide.Conflict) {
		t.Errorf("one that is down: got %v", err)
	}
}

// A worker that is killed between the halves is followed by one that begins with
// the second.
func TestRestartGoesOnWithItsSecondHalf(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	id := b.running().ID
	out, err := Act(t.Context(), b.Deps, alice, "restart", id, Request{})
	b.must(err)
	release := b.engine.Hang("POST", "/services/create")
	first, shutdown := context.WithCancelCause(t.Context())
	done := make(chan error, 1)
	go func() { done <- Execute(first, b.Deps, newest(out.Job.ID)) }()
	b.untilStep(out.Job.ID, "service")
	until(t, "the second run has begun", func() bool { return b.container(id).Run == 2 })
	shutdown(ErrShutdown)
	release()
	b.must(<-done)
	b.execute(out.Job.ID, ide.JobSucceeded)
	if c := b.container(id); c.Status != ide.Running || c.Run != 2 {
		t.Errorf("got %s in run %d, want running in run 2", c.Status, c.Run)
	}
}

// A stop that is asked for while a restart is in its first half is the last word.
func TestStopEndsARestart(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	id := b.running().ID
	out, err := Act(t.Context(), b.Deps, alice, "restart", id, Request{})
	b.must(err)
	stop := b.stop(StopContainerArgs{ID: id})
	b.execute(out.Job.ID, ide.JobCanceled)
	b.execute(stop.Job.ID, ide.JobSucceeded)
	if c := b.container(id); c.Status != ide.Stopped || c.Run != 1 {
		t.Errorf("got %s in run %d, want stopped in run 1", c.Status, c.Run)
	}
}

// A job of an earlier release has halves that are jobs of their own. It waits for
// them outside of its slot.
func TestRestartOfAnEarlierRelease(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	id := b.running().ID
	out, err := b.Store.Admit(t.Context(), store.Admission{Function: restartName, Queue: "default", MaxAttempts: 12, By: alice,
		Args: RestartContainerArgs{ID: id, By: callerOf(alice)}, Container: id, Target: "restart-" + id})
	b.must(err)
	for _, half := range []string{"stop", "start"} {
		b.waits(out.Job.ID)
		b.waits(out.Job.ID)
		job, _ := b.job(out.Job.ID).Result[half].(string)
		b.execute(job, ide.JobSucceeded)
	}
	b.execute(out.Job.ID, ide.JobSucceeded)
	c, j := b.container(id), b.job(out.Job.ID)
	if c.Status != ide.Running || c.Run != 2 || j.Attempt != 1 || len(j.Steps) != 3 {
		t.Errorf("got %s in run %d, the job at attempt %d: %+v", c.Status, c.Run, j.Attempt, j.Steps)
	}
}
