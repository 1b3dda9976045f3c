package functions

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"berth/internal/ide"
	"berth/internal/store"
	"berth/queue"
)

// SweepPressureArgs is empty: the sweep is about all nodes.
type SweepPressureArgs struct{}

// sustained is how long a node's memory is above its mark before a container is
// stopped for it.
const sustained = 2 * time.Minute

// SweepPressure relieves nodes that stay short of memory, where the operator
// wants that (PRESSURE_STOP): of each it saves and stops the running container
// that was used least lately, one at a time, until the memory is below its mark.
var SweepPressure = define(Function[SweepPressureArgs]{
	Name: "sweep-pressure", Doc: "Stop containers where memory stays short", Cron: "@every 30s",
	Queue: queue.Low, Attempts: 1, Timeout: time.Minute, Keep: time.Hour,
	Admit: func(context.Context, *Deps, ide.Principal, *SweepPressureArgs) (store.Admission, error) {
		return store.Admission{}, nil
	},
	Run: func(ctx context.Context, d *Deps, _ SweepPressureArgs) error {
		if !d.PressureStop {
			return nil
		}
		return Step(ctx, "relieve", func(ctx context.Context) error {
			rooms, err := d.Store.Room(ctx)
			if err != nil {
				return err
			}
			short := map[string]ide.Mark{} // node -> its memory
			for _, r := range rooms {
				for _, m := range r.Above() {
					if m.Resource == ide.ResourceMemory && r.Use.At.Sub(m.Since) >= sustained {
						short[r.Node.ID] = m
					}
				}
			}
			if len(short) == 0 {
				return nil
			}
			chosen, err := d.leastUsed(ctx, short)
			if err != nil {
				return err
			}
			SetResult(ctx, "stopped", len(chosen))
			for _, c := range chosen {
				err = errors.Join(err, d.stopForMemory(ctx, c, short[c.Node]))
			}
			return err
		})
	},
})

// leastUsed returns, of each of some nodes, the running container that was used
// least lately; one that somebody keeps alive comes after all others. A node on
// which one is being stopped has none.
func (d *Deps) leastUsed(ctx context.Context, nodes map[string]ide.Mark) ([]ide.Container, error) {
	all, err := d.Store.ByStatus(ctx, ide.Running, ide.Stopping)
	if err != nil {
		return nil, err
	}
	on, ids := map[string][]ide.Container{}, []string{}
	for _, c := range all {
		if _, ok := nodes[c.Node]; ok {
			on[c.Node] = append(on[c.Node], c)
			ids = append(ids, c.ID)
		}
	}
	seen, err := d.Store.Activity(ctx, ids...)
	if err != nil {
		return nil, err
	}
	now, err := d.Store.Clock(ctx)
	if err != nil {
		return nil, err
	}
	kept := func(c ide.Container) bool { return c.Watch.KeepUntil != nil && c.Watch.KeepUntil.After(now) }
	var chosen []ide.Container
	for _, list := range on {
		if slices.ContainsFunc(list, func(c ide.Container) bool { return c.Status == ide.Stopping }) {
			continue
		}
		chosen = append(chosen, slices.MinFunc(list, func(a, b ide.Container) int {
			if kept(a) != kept(b) {
				if kept(b) {
					return -1
				}
				return 1
			}
			return a.LastUse(seen[a.ID]).At.Compare(b.LastUse(seen[b.ID]).At)
		}))
	}
	return chosen, nil
}

func (d *Deps) stopForMemory(ctx context.Context, c ide.Container, m ide.Mark) error {
	message := fmt.Sprintf("The %s of its node since %s, and of the containers there it was used least lately, so it is stopped.", m, m.Since.Format(time.RFC3339))
	err := d.Store.Note(ctx, c.ID, "container.pressure_stop", message, func(rec *ide.Container) bool { return rec.Run == c.Run && rec.Status == ide.Running })
	if err == nil {
		_, err = StopContainer.Enqueue(ctx, d, ide.Principal{Name: "sweep-pressure", Role: ide.Admin}, &StopContainerArgs{ID: c.ID, Reason: ide.ResourceLimit, Of: c.Run})
	}
	if unlessGone(err) != nil {
		return fmt.Errorf("stop %s: %w", c.ID, err)
	}
	return nil
}
