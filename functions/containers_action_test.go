package functions

import (
	"errors"
	"strings"
	"testing"
	"time"

	"berth/internal/ide"
	"berth/internal/store"
)

// waits works on one delivery of a job, which waits for others then: its slot and
// its lease are free, and no attempt counts.
func (b *bench) waits(job string) {
	b.Helper()
	before := b.job(job)
	var again *RetryError
	if err := Execute(b.Context(), b.Deps, newest(job)); !errors.As(err, &again) {
		b.Fatalf("execute %s: got %v, want it to wait", job, err)
	}
	j := b.job(job)
	if j.Status != ide.JobRunning || j.Attempt != before.Attempt {
		b.Fatalf("%s is %s at attempt %d, want running at %d", job, j.Status, j.Attempt, before.Attempt)
	}
	if n := b.rdb.Exists(b.Context(), "{berth}:lease:"+store.Target(job)).Val(); n != 0 {
		b.Fatalf("%s waits, and holds the lease of %s", job, store.Target(job))
	}
}

func TestActionOnSeveral(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	var ids []string
	for range 2 {
		out := b.create(CreateContainerRequest{})
		b.execute(out.Job.ID, ide.JobSucceeded)
		ids = append(ids, out.Container.ID)
	}
	args := func() *ContainersActionArgs {
		return &ContainersActionArgs{Body: ContainersActionRequest{Action: "delete", IDs: []string{ids[0], "nothing", ids[1], ids[0]}}}
	}
	out, err := ContainersAction.Enqueue(t.Context(), b.Deps, alice, args())
	b.must(err)
	other, err := ContainersAction.Enqueue(t.Context(), b.Deps, bob, args())
	b.must(err)
	if out.Job.ID == other.Job.ID || out.Job.Container != "" {
		t.Errorf("two requests at once are the jobs %s and %s", out.Job.ID, other.Job.ID)
	}
	b.execute(other.Job.ID, ide.JobFailed) // none of them is bob's
	if e := b.job(other.Job.ID).Error; e == nil || e.Code != ide.ItemsFailed || !strings.Contains(e.Message, "3 of 3 failed") {
		t.Errorf("bob's job: got %v", e)
	}
	b.waits(out.Job.ID)
	items := func(job string) []ide.Item { return b.job(job).Items }
	if got := items(out.Job.ID); len(got) != 3 {
		t.Fatalf("got %+v", got)
	}
	for _, it := range items(out.Job.ID) {
		if it.Job != "" {
			b.waits(out.Job.ID)
			b.execute(it.Job, ide.JobSucceeded)
		}
	}
	b.execute(out.Job.ID, ide.JobFailed)
	if j := b.job(out.Job.ID); j.Attempt != 1 || len(j.Steps) != 3 || j.Error == nil || j.Error.Code != ide.ItemsFailed || !strings.Contains(j.Error.Message, "1 of 3 failed. The first is nothing: ") {
		t.Errorf("one of them is nothing, and the job is %s (%v) at attempt %d: %+v", j.Status, j.Error, j.Attempt, j.Steps)
	}
	again, err := Retry(t.Context(), b.Deps, alice, out.Job.ID)
	b.must(err)
	b.execute(again.ID, ide.JobFailed)
	if list := items(again.ID); len(list) != 1 || list[0].ID != "nothing" {
		t.Errorf("tried again: got %+v, want only what has failed", list)
	}
	got := items(out.Job.ID)
	if got[0].ID != ids[0] || got[0].Status != ide.JobSucceeded || got[1].Error == nil || got[1].Error.Code != ide.ContainerNotFound || got[2].Status != ide.JobSucceeded {
		t.Errorf("got %+v", got)
	}
	for _, it := range items(other.Job.ID) {
		if it.Error == nil || it.Error.Code != ide.ContainerNotFound {
			t.Errorf("bob's: got %+v", it)
		}
	}
	for _, id := range ids {
		if _, err := b.Store.Container(t.Context(), id); !ide.HasCode(err, ide.ContainerNotFound) {
			t.Errorf("%s: got %v, want it gone", id, err)
		}
	}

	// of containers that are gone, and of what was done to several, no numbers stay
	if _, err := store.New(b.rdb, store.Config{JobRetention: time.Nanosecond}).Prune(t.Context()); err != nil {
		t.Fatal(err)
	}
	if left := b.rdb.HGetAll(t.Context(), "{berth}:j:seq").Val(); len(left) > 0 {
		t.Errorf("numbers of jobs that nobody can ask for: %v", left)
	}
}
