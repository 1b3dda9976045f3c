package functions

import (
	"strings"
	"testing"
	"time"

	"berth/internal/ide"
	"berth/internal/store"
	"berth/queue"
)

// goes runs a job in a worker of its own until it has ended.
func (b *bench) goes(job string) <-chan error {
	done := make(chan error, 1)
	go func() { done <- Execute(b.Context(), b.Deps, queue.Delivery{Job: job, Number: 1 << 20}) }()
	return done
}

// asked waits until a job has named another in its result, and returns that.
func (b *bench) asked(job, half string) (id string) {
	b.Helper()
	until(b.TB, "it has asked to "+half, func() bool {
		id, _ = b.job(job).Result[half].(string)
		return id != ""
	})
	return id
}

func TestRestart(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	first := b.create(CreateContainerRequest{})
	b.execute(first.Job.ID, ide.JobSucceeded)
	id := first.Container.ID
	out, err := Act(t.Context(), b.Deps, alice, "restart", id, Request{})
	b.must(err)
	done := b.goes(out.Job.ID)
	b.execute(b.asked(out.Job.ID, "stop"), ide.JobSucceeded)
	b.execute(b.asked(out.Job.ID, "start"), ide.JobSucceeded)
	b.must(<-done)
	if c, j := b.container(id), b.job(out.Job.ID); c.Status != ide.Running || c.Run != 2 || j.Status != ide.JobSucceeded {
		t.Errorf("got %s in run %d, and the job %s: %+v", c.Status, c.Run, j.Status, j.Error)
	}
	if _, err := Act(t.Context(), b.Deps, bob, "restart", id, Request{}); !ide.HasCode(err, ide.ContainerNotFound) {
		t.Errorf("another owner's: got %v", err)
	}
	b.execute(b.stop(StopContainerArgs{ID: id}).Job.ID, ide.JobSucceeded)
	if _, err := Act(t.Context(), b.Deps, alice, "restart", id, Request{}); !ide.HasCode(err, ide.Conflict) {
		t.Errorf("one that is down: got %v", err)
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
	restart, err := Act(t.Context(), b.Deps, alice, "restart", ids[0], Request{})
	b.must(err)
	restarted := b.goes(restart.Job.ID)
	b.execute(b.asked(restart.Job.ID, "stop"), ide.JobSucceeded)
	b.execute(b.asked(restart.Job.ID, "start"), ide.JobSucceeded)
	b.must(<-restarted)
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
	done := b.goes(out.Job.ID)
	items := func(job string) []ide.Item { return b.job(job).Items }
	until(t, "each has its job", func() bool {
		return len(items(out.Job.ID)) == 3 && b.job(out.Job.ID).Steps[len(b.job(out.Job.ID).Steps)-1].Name == "wait"
	})
	for _, it := range items(out.Job.ID) {
		if it.Job != "" {
			b.execute(it.Job, ide.JobSucceeded)
		}
	}
	b.must(<-done)
	if j := b.job(out.Job.ID); j.Status != ide.JobFailed || j.Error == nil || j.Error.Code != ide.ItemsFailed || !strings.Contains(j.Error.Message, "1 of 3 failed. The first is nothing: ") {
		t.Errorf("one of them is nothing, and the job is %s (%v)", j.Status, j.Error)
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
