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
