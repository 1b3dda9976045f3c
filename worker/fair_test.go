package worker

import (
	"testing"
	"time"

	"berth/functions"
	"berth/internal/ide"
	"berth/internal/store"
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
	b.run(Config{Concurrency: slots})
	b.until("bob's start begins", func() bool { return b.job(out.Job.ID).StartedAt != nil })
	began := *b.job(out.Job.ID).StartedAt
	all, _, err := b.st.Jobs(t.Context(), store.Filter{Owner: "alice", Limit: burst})
	b.must(err)
	before := 0
	for _, j := range all {
		if j.StartedAt != nil && j.StartedAt.Before(began) {
			before++
		}
	}
	if before > 3*slots {
		t.Errorf("%d of the %d starts that another key had queued began first, want at most %d", before, burst, 3*slots)
	}
	b.ends(out.Job.ID, ide.JobSucceeded)
}
