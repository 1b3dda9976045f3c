package functions

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"berth/internal/ide"
)

// short reports that the memory of the only node is above its mark for so long.
func (b *bench) short(ago time.Duration) {
	b.Helper()
	nodes, err := b.Store.Nodes(b.Context())
	b.must(err)
	now := time.Now().UTC()
	b.must(b.Store.ReportUse(b.Context(), nodes[0], ide.NodeUse{At: now, Cores: 4, Memory: 95, MemoryTotal: 100,
		Above: []ide.Mark{{Resource: ide.ResourceMemory, Percent: 95, Mark: 90, Since: now.Add(-ago)}}, Pressure: []string{ide.ResourceMemory}}))
}

func TestShortMemoryStopsTheLeastUsedContainer(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	var ids []string
	for i := range 3 {
		c := b.watched(CreateContainerRequest{S3Bucket: fmt.Sprint("bucket-", i)}, 0)
		ids = append(ids, c.ID)
	}
	for i, ago := range []time.Duration{10 * time.Minute, 40 * time.Minute, 20 * time.Minute} {
		b.update(ids[i], func(c *ide.Container) {
			c.Watch.Used = &ide.Use{At: time.Now().UTC().Add(-ago), Source: ide.UseEditor, Signal: ide.SignalAgent}
		})
	}
	later := time.Now().UTC().Add(time.Hour)
	b.update(ids[1], func(c *ide.Container) { c.Watch.KeepUntil = &later })
	stopping := func() (n int) {
		for _, id := range ids {
			if b.container(id).Status == ide.Stopping {
				n++
			}
		}
		return n
	}

	b.short(time.Hour)
	b.sweep("pressure-sweep")
	if stopping() != 0 {
		t.Error("a container is stopped though PRESSURE_STOP is not set")
	}
	b.PressureStop = true
	b.short(time.Minute)
	b.sweep("pressure-sweep")
	if stopping() != 0 {
		t.Error("a container is stopped after a minute")
	}
	b.short(3 * time.Minute)
	b.sweep("pressure-sweep")
	c := b.container(ids[2])
	if c.Status != ide.Stopping || stopping() != 1 {
		t.Fatalf("%d are stopping, the one that was used least lately and that nobody keeps alive is %s", stopping(), c.Status)
	}
	if types, last := b.told(c.ID); strings.Join(types, " ") != "pressure_stop stopping" || last.By != "sweep-pressure" {
		t.Errorf("told: %v, last by %s", types, last.By)
	}
	b.sweep("pressure-sweep")
	if stopping() != 1 {
		t.Error("a second one is stopped before the first has stopped")
	}
	b.execute(c.Job, ide.JobSucceeded)
	if c = b.container(c.ID); c.Status != ide.Stopped || c.ShutdownReason != ide.ResourceLimit {
		t.Errorf("it is %s for %s", c.Status, c.ShutdownReason)
	}
}
