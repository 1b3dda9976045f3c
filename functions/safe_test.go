package functions

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"berth/internal/ide"
)

// finished is an agent that has saved everything quiet, and says so.
func finished(save string) answer {
	return restoredAgent(`,"finished":true,"lastSave":` + save)
}

// A container is started with its last save or not at all, unless force is asked
// for; then the history says what it goes on from.
func TestLastSaveIsMissing(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.withStore()
	b.inside.say("agent", restoredAgent(""))
	c := b.createKept()
	b.execute(b.stop(StopContainerArgs{ID: c.ID, Force: true}).Job.ID, ide.JobSucceeded)
	b.update(c.ID, func(c *ide.Container) {
		c.LastSave = &ide.LastSave{Generation: 7, At: time.Now().UTC(), Verified: true}
	})

	job := b.restart(c.ID)
	b.execute(job, ide.JobFailed)
	e := b.job(job).Error
	if e == nil || e.Code != ide.WorkspaceMissing || !strings.Contains(e.Message, "generation 7") || !strings.Contains(e.Message, "force=true") {
		t.Errorf("got %v, want WORKSPACE_MISSING with what is known", e)
	}
	if got := b.container(c.ID); got.Status != ide.Failed || got.LastSave == nil || got.LastSave.Generation != 7 {
		t.Errorf("it is %s, its last save %+v", got.Status, got.LastSave)
	}

	out, err := StartContainer.Enqueue(t.Context(), b.Deps, alice, &StartContainerArgs{ID: c.ID, Force: true})
	b.must(err)
	b.execute(out.Job.ID, ide.JobSucceeded)
	events, err := b.Store.History(t.Context(), c.ID)
	b.must(err)
	if !slices.ContainsFunc(events, func(e ide.Event) bool {
		return e.Type == "container.workspace" && strings.Contains(e.Message, "goes on from generation 2")
	}) {
		t.Errorf("no event says what it goes on from: %+v", events)
	}
}

// A bucket that has the last save, or a later one, is no reason.
func TestLastSaveIsThere(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.withStore()
	b.inside.say("agent", restoredAgent(""))
	c := b.createKept()
	secrets, _, err := b.secrets(c)
	b.must(err)
	bucket, err := b.S3.Open(t.Context(), c, secrets)
	b.must(err)
	dir := t.TempDir()
	w, _, err := bucket.Restore(t.Context(), dir, nil)
	b.must(err)
	for _, text := range []string{"1", "22"} {
		b.must(os.WriteFile(filepath.Join(dir, "f"), []byte(text), 0o644))
		_, err := w.Save(t.Context())
		b.must(err)
	}
	b.must(w.Close())
	for _, last := range []int64{1, 2} {
		b.execute(b.stop(StopContainerArgs{ID: c.ID, Force: true}).Job.ID, ide.JobSucceeded)
		b.update(c.ID, func(c *ide.Container) { c.LastSave = &ide.LastSave{Generation: last} })
		b.execute(b.restart(c.ID), ide.JobSucceeded)
	}
}

// What a save has left out is on the volume only, so the volume stays.
func TestFilesLeftOutKeepTheVolume(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.withStore()
	b.inside.say("agent", restoredAgent(""))
	b.inside.finishes = true
	c := b.createKept()
	b.inside.say("agent", finished(`{"generation":0,"files":3,"leftOut":1},"leftOut":["\"big.iso\": it has more than 42949672960 bytes"]`))
	job := b.stop(StopContainerArgs{ID: c.ID}).Job.ID
	b.execute(job, ide.JobFailed)
	if e := b.job(job).Error; e.Code != ide.WorkspaceUnsaved || !strings.Contains(e.Message, "big.iso") || !strings.Contains(e.Message, "verified") {
		t.Errorf("the stop says %v", e)
	}
	got := b.container(c.ID)
	if got.Status != ide.Failed || !got.Unsaved || got.LastSave == nil || !got.LastSave.Verified || got.LastSave.LeftOut != 1 {
		t.Errorf("it is %s, unsaved %t, its last save %+v", got.Status, got.Unsaved, got.LastSave)
	}
	if ids, err := b.Swarm.Volumes(t.Context()); err != nil || !slices.Contains(ids, c.ID) {
		t.Errorf("lost: volumes %v, %v", ids, err)
	}
	// With nothing left out the next try ends as the stop would have.
	b.inside.say("agent", finished(`{"generation":0,"files":4}`))
	b.update(c.ID, func(c *ide.Container) { now := time.Now().UTC(); c.NextTry = &now })
	b.sweep("unsaved-sweep")
	b.execute(b.container(c.ID).Job, ide.JobSucceeded)
	if got := b.container(c.ID); got.Status != ide.Stopped || got.Unsaved {
		t.Errorf("after a save of everything it is %s, unsaved %t", got.Status, got.Unsaved)
	}
}

// The stop's sentence says what became of files that nobody asks about.
func TestStopSaysWhatBecameOfFiles(t *testing.T) {
	t.Parallel()
	said := tellSave(ide.Container{}, ide.SaveVerified, &ide.LastSave{Generation: 3, Files: 9, Bytes: 1000, Recovered: 2, Ignored: 1, IgnoredBytes: 5e9})
	for _, want := range []string{"generation 3 (9 files", "2 files that gave way", "berth-recovered", ".berthignore names them: 1 paths, 5GB"} {
		if !strings.Contains(said, want) {
			t.Errorf("%q lacks %q", said, want)
		}
	}
}

// A machine that leaves the Swarm and joins again has another node ID, and the
// volumes that it had: no worker drops them, and its own takes them over.
func TestNodeThatJoinsAgain(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.must(b.Store.MarkRebuilt(t.Context()))
	node, strays := b.engine.NodeID(), Strays{}
	parked, stopping, lost := b.running(), b.running(), b.running()
	b.update(parked.ID, func(c *ide.Container) { c.Status, c.Unsaved, c.Node = ide.Failed, true, "before" })
	b.update(stopping.ID, func(c *ide.Container) { c.Status, c.Restored, c.Node = ide.Stopping, c.Run, "before" })
	b.update(lost.ID, func(c *ide.Container) { c.Status, c.Kept = ide.Stopped, []string{"before"} })
	b.must(SweepVolumes(t.Context(), b.Deps, node, strays))
	if len(strays) != 0 {
		t.Errorf("lost: %v would be removed", strays)
	}
	if got := b.container(parked.ID); got.Node != node || got.NextTry == nil || got.NextTry.After(time.Now()) {
		t.Errorf("its node is %q, its next try %v; want %q, now", got.Node, got.NextTry, node)
	}
	if types, _ := b.told(parked.ID); !slices.Contains(types, "adopted") {
		t.Errorf("events %v, want that its volume was found", types)
	}
	// A node that is listed is another machine.
	other := b.second("other")
	b.update(parked.ID, func(c *ide.Container) { c.Node = other })
	b.must(SweepVolumes(t.Context(), b.Deps, node, strays))
	if got := b.container(parked.ID); got.Node != other || len(strays) != 0 {
		t.Errorf("its node is %q, strays %v", got.Node, strays)
	}
}

// A volume without a record may be the only copy of somebody's files: only a
// purge says that it is not.
func TestVolumeWithoutARecordStays(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.must(b.Store.MarkRebuilt(t.Context()))
	node, strays := b.engine.NodeID(), Strays{}
	c := b.running()
	b.must(b.rdb.Del(t.Context(), "{berth}:c:"+c.ID).Err())
	if _, err := b.Store.Container(t.Context(), c.ID); !ide.HasCode(err, ide.ContainerNotFound) {
		t.Fatalf("the record is still there: %v", err)
	}
	b.must(SweepVolumes(t.Context(), b.Deps, node, strays))
	if len(strays) != 0 {
		t.Errorf("lost: %v would be removed", strays)
	}
	b.must(b.rdb.Set(t.Context(), "{berth}:purged:"+c.ID, "1", time.Hour).Err())
	b.must(SweepVolumes(t.Context(), b.Deps, node, strays))
	if len(strays) != 1 {
		t.Errorf("strays %v, want the purged one's", strays)
	}
}

// A restore that makes progress is not ended by its attempt.
func TestRestoreThatTakesLong(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.withStore()
	b.inside.say("agent", answer{status: 200, body: `{"message":"Restored 1 of 9 files","workspace":{"kept":true}}`})
	out := b.create(CreateContainerRequest{AWSAccessKeyID: "key", AWSSecretAccessKey: "secret"})
	ctx, cancel := context.WithTimeout(t.Context(), restoreMargin/2) // of what is left of the attempt
	defer cancel()
	if err := Execute(ctx, b.Deps, newest(out.Job.ID)); !errors.As(err, new(*RetryError)) {
		t.Fatalf("got %v, want that the job comes again", err)
	}
	if j := b.job(out.Job.ID); j.Status != ide.JobRunning || j.Attempt != 0 && j.Attempt != 1 {
		t.Errorf("the job is %s at attempt %d", j.Status, j.Attempt)
	}
	b.inside.say("agent", restoredAgent(""))
	b.execute(out.Job.ID, ide.JobSucceeded)
	if j := b.job(out.Job.ID); j.Attempt != 1 {
		t.Errorf("it took %d attempts, want one", j.Attempt)
	}
}

// A start that fails after the workspace was restored may have had programs at
// work on it: the volume stays until it is saved.
func TestFailedStartKeepsWhatWasRestored(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.withStore()
	// it answers, it has restored, and then it refuses the control plane
	b.inside.say("agent", restoredAgent(""), restoredAgent(""), answer{status: 401})
	out := b.create(CreateContainerRequest{AWSAccessKeyID: "key", AWSSecretAccessKey: "secret"})
	b.execute(out.Job.ID, ide.JobFailed)
	c := out.Container
	got := b.container(c.ID)
	if got.Status != ide.Failed || !got.Unsaved || got.NextTry == nil {
		t.Errorf("it is %s, unsaved %t, its next try %v", got.Status, got.Unsaved, got.NextTry)
	}
	if ids, err := b.Swarm.Volumes(t.Context()); err != nil || !slices.Contains(ids, c.ID) {
		t.Errorf("lost: volumes %v, %v", ids, err)
	}
}
