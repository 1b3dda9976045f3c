package functions

import (
	"testing"

	"berth/internal/ide"
)

// A stop does not wait until Swarm removes the container that has ended: the
// node's worker does, once the log is shipped.
func TestStopRemovesItsEndedContainer(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	c := b.running()
	release := b.engine.Keep()
	defer release()
	job := b.stop(StopContainerArgs{ID: c.ID}).Job.ID
	b.execute(job, ide.JobSucceeded)
	if list, err := b.Swarm.LocalContainers(t.Context()); err != nil || len(list) > 0 {
		t.Errorf("containers are left: %+v, %v", list, err)
	}
	if left := b.engine.Volumes(); len(left) > 0 {
		t.Errorf("volumes are left: %v", left)
	}
}

// What is not to be removed early: a container that runs, one whose log is not
// shipped, one of a run that began since, and any while its files are not saved.
func TestWhatKeepsAnEndedContainer(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	node := b.engine.NodeID()
	there := func() int {
		list, err := b.Swarm.LocalContainers(t.Context())
		b.must(err)
		return len(list)
	}
	c := b.running()
	d := *b.Deps
	shipped := false
	d.LogRead = func(string) bool { return shipped }
	gone := ide.Container{}
	b.must(removeEnded(t.Context(), &d, c.ID, gone))
	if shipped = true; there() != 1 {
		t.Fatal("a container that runs was removed")
	}
	b.must(removeEnded(t.Context(), &d, c.ID, gone))
	if there() != 1 {
		t.Fatal("a container that runs was removed")
	}

	release := b.engine.Keep()
	defer release()
	b.must(b.Swarm.RemoveService(t.Context(), c.ID, c.Run))
	b.must(b.Swarm.WaitGone(t.Context(), c.ID, c.Run))
	shipped = false
	b.must(removeEnded(t.Context(), &d, c.ID, gone))
	shipped = true
	before := c
	before.Run--
	b.must(removeEnded(t.Context(), &d, c.ID, before))
	if there() != 1 {
		t.Fatal("it was removed before its log was shipped, or for an earlier run's sake")
	}

	unsaved := func(status ide.Status, restored int) {
		_, err := b.Store.Update(t.Context(), c.ID, func(rec *ide.Container) error {
			rec.Status, rec.Restored = status, restored
			return nil
		})
		b.must(err)
		b.must(b.Store.DropVolume(t.Context(), node, c.ID)) // asked for by a stop of an earlier run, and heard of late
		b.must(DropVolumes(t.Context(), &d, node))
	}
	unsaved(ide.Stopping, c.Run)
	if there() != 1 || len(b.engine.Volumes()) != 1 {
		t.Fatal("what a stop has still to save was removed")
	}
	unsaved(ide.Stopping, 0)
	if there() != 0 || len(b.engine.Volumes()) != 0 {
		t.Error("what was saved is left")
	}
	b.must(DropVolumes(t.Context(), &d, node)) // twice, and late
	b.must(d.Swarm.RemoveEnded(t.Context(), "0123456789abcdef"))
}
