package functions

import (
	"testing"
	"time"

	"berth/internal/ide"
	"berth/internal/redistest"
)

// Sweeps judge by the clock that all share, read once each: one worker whose own is
// ahead, behind or jumps stops, purges and retries nothing before its time, nor late.
func TestSweepsGoByTheSharedClock(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.RecordRetention, b.IdleWarning = 30*time.Minute, time.Second
	set := redistest.Skew(b.rdb)
	idle, down, parked := b.watched(CreateContainerRequest{}, 0), b.running(), b.running()
	b.execute(b.stop(StopContainerArgs{ID: down.ID}).Job.ID, ide.JobSucceeded)
	b.execute(b.stop(StopContainerArgs{ID: parked.ID}).Job.ID, ide.JobSucceeded)
	open := func(id string) bool { return b.openJob("container-stop", id) != "" }
	for _, step := range []struct {
		ahead time.Duration // of this worker's clock, which jumps from step to step
		ago   time.Duration // the last use, the stop, and the last try, by the shared clock
		over  bool
	}{
		{time.Hour, 0, false},
		{-time.Hour, 0, false},
		{2 * time.Hour, 10 * time.Second, false},
		{-2 * time.Hour, time.Hour, true},
	} {
		set(step.ahead)
		then := time.Now().Add(-step.ahead - step.ago).UTC()
		b.inside.say("agent", answer{status: 503}) // only the record knows
		b.update(idle.ID, func(c *ide.Container) {
			c.StartedAt, c.NoAgent = &then, true
			c.Watch = ide.Watch{Used: &ide.Use{At: then, Source: ide.UseStart, Signal: ide.SignalRecord}}
			if step.over { // it was warned in time
				warned := time.Now().Add(-step.ahead).UTC()
				c.Watch.StopsAt = &warned
			}
		})
		b.update(down.ID, func(c *ide.Container) { c.StoppedAt = &then })
		next := then.Add(5 * time.Minute)
		b.update(parked.ID, func(c *ide.Container) {
			c.Status, c.Unsaved, c.NextTry, c.StoppedAt = ide.Failed, true, &next, &then
		})
		for _, s := range []string{"idle-sweep", "purge-sweep", "unsaved-sweep"} {
			b.sweep(s)
		}
		for what, id := range map[string]string{"idle container": idle.ID, "record to be purged": down.ID, "parked container": parked.ID} {
			if got := open(id); got != step.over {
				t.Errorf("clock ahead by %s, %s ago: the %s is stopped, purged or tried: %t, want %t", step.ahead, step.ago, what, got, step.over)
			}
		}
	}
}
