package swarmtest

import (
	"slices"

	"berth/internal/ide"
	"berth/internal/swarm"
)

// stats reads a container's counters twice, and its limits.
func (b *bench) stats() {
	rec := b.container(b.env.Image)
	b.start(rec)
	_, err := b.c.WaitRunning(b.ctx, rec, nil)
	b.must(err)
	list, err := b.c.LocalContainers(b.ctx)
	b.must(err)
	i := slices.IndexFunc(list, func(l swarm.LocalContainer) bool { return l.Container == rec.ID })
	if i < 0 {
		b.Fatal("the container is not listed")
	}
	id := list[i].EngineID
	first, err := b.c.Stats(b.ctx, id)
	b.must(err)
	second, err := b.c.Stats(b.ctx, id)
	b.must(err)
	if !second.At.After(first.At) || second.CPU < first.CPU || second.NetIn < first.NetIn || second.NetOut < first.NetOut {
		b.Errorf("counters went back: %+v, %+v", first, second)
	}
	if first.Memory <= 0 || first.Memory > rec.Resources.MemoryLimit || first.PIDs < 1 {
		b.Errorf("counters: %+v", first)
	}
	cpu, memory, err := b.c.Limits(b.ctx, id)
	b.must(err)
	if cpu != rec.Resources.CPULimit || memory != rec.Resources.MemoryLimit {
		b.Errorf("limits are %d and %d, want %+v", cpu, memory, rec.Resources)
	}
	_, err = b.c.Stats(b.ctx, id+"0")
	b.want("counters of none", err, ide.ContainerNotFound, true)
	_, _, err = b.c.Limits(b.ctx, id+"0")
	b.want("limits of none", err, ide.ContainerNotFound, true)
	before, err := b.c.Addresses(b.ctx)
	b.must(err)
	if before.Total < 200 || before.Free <= 0 || before.Free > before.Total-2 { // the container's and its node's
		b.Errorf("addresses: %+v", before)
	}
}
