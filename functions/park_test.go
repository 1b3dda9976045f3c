package functions

import (
	"net/http"
	"testing"

	"berth/internal/ide"
)

// A run that is parked has ended before its room is given to others: until its
// grace is over it may be saving.
func TestParkedContainerHasEnded(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.withStore()
	b.inside.say("agent", restoredAgent(""))
	c := b.createKept()
	b.SaveDeadline = 0 // the first failure is the last
	release := b.engine.Linger()
	defer release()
	job := b.stop(StopContainerArgs{ID: c.ID}).Job.ID
	done := make(chan error, 1)
	go func() { done <- Execute(t.Context(), b.Deps, newest(job)) }()
	b.untilStep(job, "park")
	asked := b.engine.Requests(http.MethodGet, "/tasks")
	until(t, "it is asked whether it has ended", func() bool { return b.engine.Requests(http.MethodGet, "/tasks") > asked })
	if got := b.container(c.ID); got.Status != ide.Stopping || b.reserved() == "0 0" {
		t.Errorf("it is %s with %s reserved while its container runs", got.Status, b.reserved())
	}
	release()
	b.must(<-done)
	got := b.container(c.ID)
	if got.Status != ide.Failed || !got.Unsaved || got.Error.Code != ide.WorkspaceUnsaved || b.reserved() != "0 0" {
		t.Errorf("it is %s (%v), unsaved %t, with %s reserved", got.Status, got.Error, got.Unsaved, b.reserved())
	}
}

// A start waits until the container of the run before has ended: both have the
// same volume.
func TestStartWaitsForTheRunBefore(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	c := b.running()
	b.update(c.ID, func(c *ide.Container) { c.Status = ide.Failed }) // as if by a worker that was killed since
	release := b.engine.Linger()
	defer release()
	job := b.restart(c.ID)
	done := make(chan error, 1)
	go func() { done <- Execute(t.Context(), b.Deps, newest(job)) }()
	b.untilStep(job, "service")
	asked := b.engine.Requests(http.MethodGet, "/tasks")
	until(t, "it is asked whether the one before has ended", func() bool { return b.engine.Requests(http.MethodGet, "/tasks") > asked })
	if n := b.engine.Requests(http.MethodPost, "/services/create"); n != 1 {
		t.Errorf("%d services were made while the first's container runs", n)
	}
	release()
	b.must(<-done)
	if got := b.container(c.ID); got.Status != ide.Running || got.Run != 2 {
		t.Errorf("it is %s in run %d", got.Status, got.Run)
	}
}
