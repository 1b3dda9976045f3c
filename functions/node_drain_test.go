package functions

import (
	"context"
	"net/http"
	"testing"

	"berth/internal/ide"
)

// A drain that another worker takes over ends when the move that was begun has:
// also one whose container has left the node.
func TestDrainEndsAfterItsMoves(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	c := b.running()
	b.second("node-2")
	b.keepPublishing()
	out, err := DrainNode.Enqueue(t.Context(), b.Deps, root, &DrainNodeArgs{NodeInput{ID: c.Node}})
	b.must(err)
	drained := make(chan error, 2)
	first, shutdown := context.WithCancelCause(t.Context())
	go func() { drained <- Execute(first, b.Deps, newest(out.Job.ID)) }()
	until(t, "a move is asked for", func() bool { return b.container(c.ID).Status == ide.Stopping })
	release := b.engine.Hang(http.MethodPost, "/services/create")
	defer release()
	move, moved := b.container(c.ID).Job, make(chan error, 1)
	go func() { moved <- Execute(t.Context(), b.Deps, newest(move)) }()
	until(t, "it has left its node", func() bool { return b.container(c.ID).Node != c.Node })
	shutdown(ErrShutdown)
	b.must(<-drained)

	go func() { drained <- Execute(t.Context(), b.Deps, newest(out.Job.ID)) }()
	until(t, "another goes on", func() bool {
		j := b.job(out.Job.ID)
		return j.Attempt == 1 && j.Status == ide.JobRunning || j.Status.Ended()
	})
	b.untilStep(out.Job.ID, "move "+c.ID)
	release()
	b.must(<-moved)
	b.must(<-drained)
	d, m := b.job(out.Job.ID), b.job(move)
	if d.Status != ide.JobSucceeded || m.Status != ide.JobSucceeded || d.FinishedAt.Before(*m.FinishedAt) {
		t.Errorf("the drain is %s at %v, its move %s at %v", d.Status, d.FinishedAt, m.Status, m.FinishedAt)
	}
	if got := d.Result["moved"]; got != 1.0 || d.Result["moving"] != nil {
		t.Errorf("its result is %v", d.Result)
	}
}
