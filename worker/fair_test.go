package worker

import (
	"slices"
	"strings"
	"testing"
	"time"

	"berth/functions"
	"berth/internal/ide"
	"berth/queue"

	"github.com/hibiken/asynq"
)

// One key's burst of starts is before another's single start in the queue;
// with few workers it would hold them all for a long time.
func TestABurstOfOneKeyStarvesNobody(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.must(b.st.PublishNodes(t.Context(), []ide.Node{{ID: b.engine.NodeID(), CPU: 64e9, Memory: 64 << 30, State: "ready", Availability: "active", Filtered: true, At: time.Now()}}))
	const burst, slots = 200, 4
	for range burst {
		b.create()
	}
	out, err := functions.CreateContainer.Enqueue(t.Context(), b.deps, ide.Principal{Name: "bob", Role: ide.Client},
		&functions.CreateContainerArgs{Body: functions.CreateContainerRequest{S3Bucket: "workspace"}})
	b.must(err)
	release := b.engine.Hang("POST", "/services/create")
	b.run(Config{Concurrency: slots})
	tasks := asynq.NewInspectorFromRedisClient(b.rdb)
	b.until("the first starts hold every slot", func() bool {
		active, err := tasks.ListActiveTasks(queue.Default)
		b.must(err)
		return len(active) == slots
	})
	pending, err := tasks.ListPendingTasks(queue.Default, asynq.PageSize(burst+1))
	b.must(err)
	before := slices.IndexFunc(pending, func(task *asynq.TaskInfo) bool { return strings.HasPrefix(task.ID, out.Job.ID+"#") })
	if before < 0 || slots+before > 3*slots {
		t.Errorf("%d of the %d starts that another key had queued come first, want at most %d", slots+before, burst, 3*slots)
	}
	release()
	b.ends(out.Job.ID, ide.JobSucceeded)
}

// With fewer slots than containers, a bulk restart leaves room: nothing of it waits
// in a slot for another of its jobs, and sweeps and stops have slots of their own.
func TestABulkRestartTakesNoSlotFromOthers(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.must(b.st.PublishNodes(t.Context(), []ide.Node{{ID: b.engine.NodeID(), CPU: 64e9, Memory: 64 << 30, State: "ready", Availability: "active", Filtered: true, At: time.Now()}}))
	b.run(Config{Concurrency: 2})
	var ids []string
	for range 8 {
		out := b.create()
		b.ends(out.Job.ID, ide.JobSucceeded)
		ids = append(ids, out.Container.ID)
	}
	other, err := functions.CreateContainer.Enqueue(t.Context(), b.deps, ide.Principal{Name: "bob", Role: ide.Client},
		&functions.CreateContainerArgs{Body: functions.CreateContainerRequest{S3Bucket: "workspace"}})
	b.must(err)
	b.ends(other.Job.ID, ide.JobSucceeded)

	release := b.engine.Hang("POST", "/services/create")
	bulk, err := functions.ContainersAction.Enqueue(t.Context(), b.deps, alice, &functions.ContainersActionArgs{Body: functions.ContainersActionRequest{Action: "restart", IDs: ids}})
	b.must(err)
	tasks := asynq.NewInspectorFromRedisClient(b.rdb)
	b.until("restarts hold every slot that they can get", func() bool {
		n := 0
		active, err := tasks.ListActiveTasks(queue.Default)
		b.must(err)
		for _, task := range active {
			if strings.HasPrefix(task.ID, "container-restart:") {
				n++
			}
		}
		return n == 2
	})
	sweep, err := functions.SweepReconcile.Enqueue(t.Context(), b.deps, ide.Principal{Name: "schedule", Role: ide.Admin}, &functions.SweepReconcileArgs{})
	b.must(err)
	b.ends(sweep.Job.ID, ide.JobSucceeded)
	stop, err := functions.StopContainer.Enqueue(t.Context(), b.deps, ide.Principal{Name: "bob", Role: ide.Client}, &functions.StopContainerArgs{ID: other.Container.ID})
	b.must(err)
	b.ends(stop.Job.ID, ide.JobSucceeded)
	if b.job(bulk.Job.ID).Status.Ended() {
		t.Error("the bulk restart has ended while nothing could be started")
	}
	release()
	b.ends(bulk.Job.ID, ide.JobSucceeded)
	for _, id := range ids {
		if c, err := b.st.Container(t.Context(), id); err != nil || c.Status != ide.Running || c.Run != 2 {
			t.Errorf("%s is %s in run %d, %v", id, c.Status, c.Run, err)
		}
	}
}
