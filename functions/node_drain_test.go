package functions

import (
	"net/http"
	"testing"

	"berth/internal/ide"
)

// A drain waits for a move outside of its slot, and ends when the move has: also
// when its container has left the node, and also in another worker.
func TestDrainEndsAfterItsMoves(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	c := b.running()
	b.second("node-2")
	b.keepPublishing()
	out, err := DrainNode.Enqueue(t.Context(), b.Deps, root, &DrainNodeArgs{NodeInput{ID: c.Node}})
	b.must(err)
	b.waits(out.Job.ID)
	if got := b.container(c.ID).Status; got != ide.Stopping {
		t.Fatalf("it is %s, want a move to be asked for", got)
	}
	release := b.engine.Hang(http.MethodPost, "/services/create")
	defer release()
	move, moved := b.container(c.ID).Job, make(chan error, 1)
	go func() { moved <- Execute(t.Context(), b.Deps, newest(move)) }()
	until(t, "it has left its node", func() bool { return b.container(c.ID).Node != c.Node })
	b.waits(out.Job.ID)
	b.untilStep(out.Job.ID, "move "+c.ID)
	release()
	b.must(<-moved)
	b.execute(out.Job.ID, ide.JobSucceeded)
	d, m := b.job(out.Job.ID), b.job(move)
	if m.Status != ide.JobSucceeded || d.Attempt != 1 || len(d.Steps) != 4 {
		t.Errorf("the move is %s, the drain at attempt %d: %+v", m.Status, d.Attempt, d.Steps)
	}
	if got := d.Result["moved"]; got != 1.0 || d.Result["moving"] != nil || d.Result["move"] != nil {
		t.Errorf("its result is %v", d.Result)
	}
}
